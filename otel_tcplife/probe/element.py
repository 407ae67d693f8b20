"""An element of a map that one thread sets and deletes again and again: what the system call takes is made once."""

from __future__ import annotations

import ctypes

from otel_tcplife.probe import bpf


class _KeyAttribute(ctypes.Structure):
    """What BPF_MAP_DELETE_ELEM uses: what follows has to be zero, or not there (CHECK_ATTR in kernel/bpf/syscall.c)."""

    _fields_ = [("map_fd", ctypes.c_uint32), ("key", ctypes.c_uint64)]


class Element:
    """An element by its key."""

    def __init__(self, map_fd: int, key: bytes, value_size: int) -> None:
        self._key = ctypes.create_string_buffer(key, len(key))
        self._value = ctypes.create_string_buffer(value_size)
        key_at, value_at = ctypes.addressof(self._key), ctypes.addressof(self._value)
        self._putting, self._deleting = bpf.ElementAttribute(map_fd, key_at, value_at, 0), _KeyAttribute(map_fd, key_at)

    def put(self, value: bytes) -> None:
        """Set it. Raise OSError."""
        self._value.raw = value
        bpf.call(bpf.UPDATE, self._putting)

    def delete(self) -> None:
        """Delete it, if that can be: a program may have done so already."""
        bpf.attempt(bpf.DELETE, self._deleting)
