"""Compile, load and attach the BPF program, then hand its descriptors over: the only file that imports bcc.

It runs as a short-lived program of its own, under an interpreter that has bcc (which may be another one than the
agent's: distributions install bcc for theirs), so it imports nothing of this project. The program stays attached as
long as the receiver keeps the link descriptors, and the receiver never has LLVM in its memory.

    loader.py SOCKET_FD < {"text": the C program, "maps": [names], "programs": [tracepoint names]}

sends through the Unix socket one byte with the descriptors of the maps, then of the links, in the order given.
Exit status: 0 handed over, 3 no bcc here, 1 anything else, with the reason on standard error.
"""

from __future__ import annotations

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
        from bcc import BPF  # pyright: ignore
    except ImportError as error:  # PyPI's unrelated package of that name has no BPF
        print(error, file=sys.stderr)
        return NO_BCC
    bpf: Any = BPF(text=request["text"].encode(), cflags=["-Wno-macro-redefined"])  # pyright: ignore
    descriptors: list[int] = [bpf[name.encode()].map_fd for name in request["maps"]]
    # RAW_TRACEPOINT_PROBE() made bcc attach each of them while it loaded
    descriptors += [bpf.raw_tracepoint_fds[name.encode()] for name in request["programs"]]
    with socket.socket(fileno=int(sys.argv[1])) as receiver:
        socket.send_fds(receiver, [b"!"], descriptors)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # tearing LLVM down takes time and changes nothing
