"""The sessions that wait in the kernel for the task that closes their descriptor, taken when that is late."""

from __future__ import annotations

import ctypes
import os
import platform
import time

import numpy as np

from otel_tcplife.session import SESSION, SessionBatch, concatenated

_LOOKUP, _DELETE, _NEXT_KEY = 1, 3, 4
_SYSCALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 321)
_libc = ctypes.CDLL(None, use_errno=True)


class _ElementAttribute(ctypes.Structure):
    """The part of union bpf_attr (include/uapi/linux/bpf.h) that the element commands use."""

    _fields_ = [
        ("map_fd", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


def take_unclaimed(map_fd: int, older_than: float) -> SessionBatch:
    """Take out of the map the sessions that closed more than `older_than` seconds ago.

    Each is taken either here or by the BPF program, whoever deletes it first. Raise OSError where bpf(2) is refused.
    """
    closed_before = time.monotonic_ns() - int(older_than * 1e9)
    taken: list[SessionBatch] = []
    for key in _keys(map_fd):
        session = np.zeros(1, SESSION)
        found = _element(_LOOKUP, map_fd, key, session.ctypes.data)
        if found and session["closed_at"][0] <= closed_before and _element(_DELETE, map_fd, key):
            taken.append(session)
    return concatenated(taken)


def _keys(map_fd: int) -> list[ctypes.c_uint64]:
    keys: list[ctypes.c_uint64] = []
    key, following = None, ctypes.c_uint64()
    while _element(_NEXT_KEY, map_fd, key, ctypes.addressof(following)):
        key = ctypes.c_uint64(following.value)
        keys.append(key)
    return keys


def _element(command: int, map_fd: int, key: ctypes.c_uint64 | None, value: int = 0) -> bool:
    """Do one bpf(2) command on an element; false where there is none."""
    attribute = _ElementAttribute(map_fd, ctypes.addressof(key) if key is not None else 0, value, 0)
    if _libc.syscall(_SYSCALL, command, ctypes.byref(attribute), ctypes.sizeof(attribute)) == 0:
        return True
    error = ctypes.get_errno()
    if error != 2:  # ENOENT
        raise OSError(error, os.strerror(error))
    return False
