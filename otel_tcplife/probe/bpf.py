"""bpf(2): elements of maps, all of which have 64-bit keys here; running an iterator; the maps that there are."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from typing import Any

_LOOKUP, _DELETE, _NEXT_KEY, _MAP_NEXT_ID, _MAP_BY_ID, _INFO, _ITER_CREATE = 1, 3, 4, 12, 14, 15, 33
_SYSCALL, _SYSCALL_MEMBARRIER = {"x86_64": (321, 324), "aarch64": (280, 283)}.get(platform.machine(), (-1, -1))
"""NumericColumn of system calls; on another machine, one that the kernel refuses (ENOSYS)."""
_MEMBARRIER_GLOBAL = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _ElementAttribute(ctypes.Structure):
    """The part of union bpf_attr (include/uapi/linux/bpf.h) that the element commands use."""

    _fields_ = [
        ("map_fd", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


class _IdAttribute(ctypes.Structure):
    """The part that the commands about ids use."""

    _fields_ = [("id", ctypes.c_uint32), ("next_id", ctypes.c_uint32), ("open_flags", ctypes.c_uint32)]


class _InfoAttribute(ctypes.Structure):
    """The part that BPF_OBJ_GET_INFO_BY_FD uses."""

    _fields_ = [("bpf_fd", ctypes.c_uint32), ("info_len", ctypes.c_uint32), ("info", ctypes.c_uint64)]


class _MapInfo(ctypes.Structure):
    """The beginning of struct bpf_map_info."""

    _fields_ = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
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


def is_refused() -> bool:
    """Whether bpf(2) is refused to this process whatever it asks for: here, for an element of a map that is none."""
    try:
        lookup(-1, 0, 8)
    except OSError as error:
        return error.errno != errno.EBADF
    return False


def map_ids() -> Iterator[int]:
    """The id of each map of this kernel, in the order in which they were made."""
    attribute = _IdAttribute()
    try:
        while True:
            call(_MAP_NEXT_ID, attribute)
            yield attribute.next_id
            attribute.id = attribute.next_id
    except FileNotFoundError:
        return


def map_name(map_id: int) -> str:
    """Name of a map of any process; empty if it has gone meanwhile."""
    try:
        descriptor = call(_MAP_BY_ID, _IdAttribute(map_id))
    except FileNotFoundError:
        return ""
    try:
        return map_info(descriptor)[1]
    finally:
        os.close(descriptor)


def map_info(map_fd: int) -> tuple[int, str]:
    """Id and name of a map."""
    info = _MapInfo()
    call(_INFO, _InfoAttribute(map_fd, ctypes.sizeof(info), ctypes.addressof(info)))
    return info.id, info.name.decode()


def run_iterator(link_fd: int) -> None:
    """Have an attached iterator program run over all that it iterates."""
    output = call(_ITER_CREATE, (ctypes.c_uint32 * 2)(link_fd, 0))
    while os.read(output, 4096):
        pass
    os.close(output)


def wait_for_programs() -> None:
    """Return when no program runs any more that began before this call.

    membarrier(2) waits until all CPUs have left what RCU protects, as BPF programs are (kernel/sched/membarrier.c);
    where it is refused, this returns at once.
    """
    _libc.syscall(_SYSCALL_MEMBARRIER, _MEMBARRIER_GLOBAL, 0, 0)


def call(command: int, attribute: ctypes.Structure | ctypes.Array[Any]) -> int:
    """bpf(2) of this command, with so much of union bpf_attr. Raise OSError."""
    result = _libc.syscall(_SYSCALL, command, ctypes.byref(attribute), ctypes.sizeof(attribute))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _element(command: int, map_fd: int, key: ctypes.c_uint64 | None, value: int = 0) -> bool:
    attribute = _ElementAttribute(map_fd, ctypes.addressof(key) if key is not None else 0, value, 0)
    try:
        call(command, attribute)
    except FileNotFoundError:
        return False
    return True
