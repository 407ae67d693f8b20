"""Seccomp filters of this process (seccomp(2)), as container runtimes and service managers set them."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_NUMBERS = {"x86_64": {"bpf": 321, "capset": 126}, "aarch64": {"bpf": 280, "capset": 91}}[platform.machine()]
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE, _KILL_THREAD = 0x7FFF0000, 0x00050000 | 1, 0  # SECCOMP_RET_ERRNO with EPERM


def refuse(names: Sequence[str], *, kill: bool = False) -> None:
    """Have these system calls refused from now on in this thread and in what it starts, or kill who makes them."""
    checks = [
        instruction
        for name in names
        for instruction in (
            (_JUMP_IF_EQUAL, 0, 1, _NUMBERS[name]),
            (_RETURN, 0, 0, _KILL_THREAD if kill else _REFUSE),
        )
    ]
    instructions = [(_LOAD_NUMBER, 0, 0, 0), *checks, (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *each) for each in instructions))
    program = ctypes.create_string_buffer(struct.pack("<H6xQ", len(instructions), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, argument in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER)):
        if libc.prctl(
            option, ctypes.c_ulong(argument), ctypes.byref(program) if option == _PR_SET_SECCOMP else 0, 0, 0
        ):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
