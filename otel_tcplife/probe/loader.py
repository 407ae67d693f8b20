"""Compile, load and attach the BPF program, then hand its descriptors over: the only file that imports bcc.

It runs as a short-lived program of its own, under an interpreter that has bcc (which may be another one than the
agent's: distributions install bcc for theirs), so it imports nothing of this project. The program stays attached as
long as the receiver keeps the link descriptors, and the receiver never has LLVM in its memory.

    loader.py SOCKET_FD < {"text": the C program, "maps": [names], "scan": iterator}

attaches all raw tracepoints of the program, then sends through the Unix socket one byte with
the descriptors of the maps, in the order given, of the iterator's link, and of those of the tracepoints.
Exit status: 0 handed over, 3 no bcc here, 1 anything else, with the reason on standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from typing import Any

NO_BCC = 3


def main() -> int:
    """Do all of the above."""
    request = json.load(sys.stdin)
    try:
        bcc: Any = importlib.import_module("bcc")
        compiler = bcc.BPF
    except (ImportError, AttributeError) as error:  # PyPI's unrelated package of that name has no BPF
        print(error, file=sys.stderr)
        return NO_BCC
    bpf = compiler(text=request["text"].encode(), cflags=["-Wno-macro-redefined"])
    descriptors: list[int] = [bpf[name.encode()].map_fd for name in request["maps"]]
    scan = bpf.load_func(request["scan"].encode(), compiler.TRACING)
    descriptors.append(_checked(bcc.lib.bcc_iter_attach(scan.fd, None, 0), "bcc_iter_attach"))
    # RAW_TRACEPOINT_PROBE() made bcc attach each of them while it loaded
    descriptors += bpf.raw_tracepoint_fds.values()
    with socket.socket(fileno=int(sys.argv[1])) as receiver:
        socket.send_fds(receiver, [b"!"], descriptors)
    return 0


def _checked(descriptor: int, what: str) -> int:
    if descriptor < 0:
        raise OSError(-descriptor, f"{what}: {os.strerror(-descriptor)}")
    return descriptor


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # tearing LLVM down takes time and changes nothing
