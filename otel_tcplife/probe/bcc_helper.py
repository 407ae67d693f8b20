"""Compile, load and attach the BPF program, then hand its descriptors over: the only file that imports bcc.

It runs as a short-lived program of its own, under an interpreter that has bcc (which may be another one than the
agent's: distributions install bcc for theirs), so it imports nothing of this project. The program stays attached as
long as the receiver keeps the link descriptors, and the receiver never has LLVM in its memory.

    bcc_helper.py SOCKET_FD < {"text": the C program, "maps": [names], "scan": iterator, "scan_target": BTF id}

attaches all raw tracepoints of the program, then sends through the Unix socket one byte with the descriptors of the
maps, in the order given, of the iterator's link, and of those of the tracepoints. Without arguments it prints the
version of bcc. Exit status: 0 done, 3 no bcc here, 1 anything else, with the reason on standard error.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import platform
import socket
import sys
from typing import Any

NO_BCC = 3

_PROG_LOAD, _LINK_CREATE = 5, 28
_PROG_TYPE_TRACING, _TRACE_ITER = 26, 28
_SYSCALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), -1)
_LOG_SIZE = 1 << 16
_INSTRUCTION_SIZE = 8


class _ProgramAttribute(ctypes.Structure):
    """The part of union bpf_attr (include/uapi/linux/bpf.h) that BPF_PROG_LOAD uses."""

    _fields_ = [
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("prog_btf_fd", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("func_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_uint64),
        ("line_info_cnt", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
    ]


class _LinkAttribute(ctypes.Structure):
    """The part that BPF_LINK_CREATE uses."""

    _fields_ = [
        ("prog_fd", ctypes.c_uint32),
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("iter_info", ctypes.c_uint64),
        ("iter_info_len", ctypes.c_uint32),
    ]


def main() -> int:
    """Do all of the above."""
    try:
        bcc: Any = importlib.import_module("bcc")
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return NO_BCC if error.name == "bcc" else 1
    if not hasattr(bcc, "BPF"):
        print("the module bcc here is another program, PyPI's package of that name", file=sys.stderr)
        return NO_BCC
    if len(sys.argv) < 2:
        print(bcc.__version__)
    else:
        _load(bcc, json.load(sys.stdin), int(sys.argv[1]))
    return 0


def _load(bcc: Any, request: Any, receiver_fd: int) -> None:
    bpf = bcc.BPF(text=request["text"].encode(), cflags=["-Wno-macro-redefined"])
    descriptors: list[int] = [bpf[name.encode()].map_fd for name in request["maps"]]
    descriptors.append(_attach_iterator(bpf.dump_func(request["scan"].encode()), request["scan_target"]))
    # RAW_TRACEPOINT_PROBE() made bcc attach each of them while it loaded
    descriptors += bpf.raw_tracepoint_fds.values()
    with socket.socket(fileno=receiver_fd) as receiver:
        socket.send_fds(receiver, [b"!"], descriptors)


def _attach_iterator(instructions: bytes, target: int) -> int:
    """Load an iterator and return its link. Raise OSError, with the verifier's last line.

    Not through the libbpf that bcc brings: one that is older than the kernel cannot read the kernel's BTF.
    """
    code, log = ctypes.create_string_buffer(instructions, len(instructions)), ctypes.create_string_buffer(_LOG_SIZE)
    terms = ctypes.create_string_buffer(b"GPL")
    program = _ProgramAttribute(
        prog_type=_PROG_TYPE_TRACING,
        insn_cnt=len(instructions) // _INSTRUCTION_SIZE,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(terms),
        prog_name=b"tcplife_scan",
        expected_attach_type=_TRACE_ITER,
        attach_btf_id=target,
    )
    try:
        loaded = _bpf(_PROG_LOAD, program)
    except OSError as error:
        program.log_level, program.log_size, program.log_buf = 1, _LOG_SIZE, ctypes.addressof(log)
        with_log = ctypes.CDLL(None, use_errno=True)
        with_log.syscall(_SYSCALL, _PROG_LOAD, ctypes.byref(program), ctypes.sizeof(program))
        print(log.value.decode(errors="replace"), file=sys.stderr)
        raise OSError(error.errno, f"bpf: loading the iterator: {error.strerror}") from None
    try:
        return _bpf(_LINK_CREATE, _LinkAttribute(prog_fd=loaded, attach_type=_TRACE_ITER))
    except OSError as error:
        raise OSError(error.errno, f"bpf: attaching the iterator: {error.strerror}") from None


def _bpf(command: int, attribute: ctypes.Structure) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(_SYSCALL, command, ctypes.byref(attribute), ctypes.sizeof(attribute))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # tearing LLVM down takes time and changes nothing
