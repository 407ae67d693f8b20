"""bpf(2): elements of maps, all of which have 64-bit keys here, and running an iterator."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Iterator

_LOOKUP, _DELETE, _NEXT_KEY, _ITER_CREATE = 1, 3, 4, 33
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


def lookup(map_fd: int, key: int, size: int) -> bytes | None:
    """The value of so many bytes, None where there is none. Raise OSError where bpf(2) is refused, as in all below."""
    value = ctypes.create_string_buffer(size)
    return value.raw if _element(_LOOKUP, map_fd, ctypes.c_uint64(key), ctypes.addressof(value)) else None


def delete(map_fd: int, key: int) -> bool:
    """Delete an element; false where another has been faster."""
    return _element(_DELETE, map_fd, ctypes.c_uint64(key))


def keys(map_fd: int) -> Iterator[int]:
    """Each key, for a caller that deletes none before it has them all."""
    key, following = None, ctypes.c_uint64()
    while _element(_NEXT_KEY, map_fd, key, ctypes.addressof(following)):
        key = ctypes.c_uint64(following.value)
        yield key.value


def run_iterator(link_fd: int) -> None:
    """Have an attached iterator program run over all that it iterates."""
    attribute = (ctypes.c_uint32 * 2)(link_fd, 0)
    output = _libc.syscall(_SYSCALL, _ITER_CREATE, attribute, ctypes.sizeof(attribute))
    if output < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    while os.read(output, 4096):
        pass
    os.close(output)


def _element(command: int, map_fd: int, key: ctypes.c_uint64 | None, value: int = 0) -> bool:
    attribute = _ElementAttribute(map_fd, ctypes.addressof(key) if key is not None else 0, value, 0)
    if _libc.syscall(_SYSCALL, command, ctypes.byref(attribute), ctypes.sizeof(attribute)) == 0:
        return True
    number = ctypes.get_errno()
    if number != errno.ENOENT:
        raise OSError(number, os.strerror(number))
    return False
