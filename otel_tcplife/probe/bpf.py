"""bpf(2): elements of maps, most of which have 64-bit keys here; the maps that there are; and pins, names in a bpffs
that keep what they name in the kernel (BPF_OBJ_PIN). What is made by it is in kernel_objects.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from typing import Any, NamedTuple

_LOOKUP, UPDATE, DELETE, _NEXT_KEY, _PIN, _GET = 1, 2, 3, 4, 6, 7
_MAP_NEXT_ID, _MAP_BY_ID, _INFO = 12, 14, 15
_NO_EXIST = 1
_SYSCALL, _SYSCALL_MEMBARRIER = {"x86_64": (321, 324), "aarch64": (280, 283)}.get(platform.machine(), (-1, -1))
"""Numbers of system calls; on another machine, one that the kernel refuses (ENOSYS)."""
_MEMBARRIER_GLOBAL = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ElementAttribute(ctypes.Structure):
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


class _PinAttribute(ctypes.Structure):
    """The part that BPF_OBJ_PIN and BPF_OBJ_GET use."""

    _fields_ = [("pathname", ctypes.c_uint64), ("bpf_fd", ctypes.c_uint32), ("file_flags", ctypes.c_uint32)]


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


class MapInfo(NamedTuple):
    """What the kernel says of a map."""

    id: int
    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


def lookup(map_fd: int, key: int, size: int) -> bytes | None:
    """The value of so many bytes, None where there is none. Raise OSError where bpf(2) is refused, as in all below."""
    value = ctypes.create_string_buffer(size)
    return value.raw if _element(_LOOKUP, map_fd, ctypes.c_uint64(key), ctypes.addressof(value)) else None


def insert(map_fd: int, key: int, value: bytes) -> bool:
    """Add an element; false where there is one already, or no room for it."""
    attribute = ElementAttribute(map_fd, flags=_NO_EXIST)
    key_at, value_at = ctypes.c_uint64(key), ctypes.create_string_buffer(value, len(value))
    attribute.key, attribute.value = ctypes.addressof(key_at), ctypes.addressof(value_at)
    try:
        call(UPDATE, attribute)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.E2BIG):
            raise
        return False
    return True


def put(map_fd: int, key: bytes, value: bytes) -> None:
    """Set an element, whether there is one already or not."""
    key_at, value_at = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    call(UPDATE, ElementAttribute(map_fd, ctypes.addressof(key_at), ctypes.addressof(value_at), 0))


def delete(map_fd: int, key: int) -> bool:
    """Delete an element; false where another has been faster."""
    return _element(DELETE, map_fd, ctypes.c_uint64(key))


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
        return map_info(descriptor).name
    finally:
        os.close(descriptor)


def map_info(map_fd: int) -> MapInfo:
    """What a map is."""
    info = _MapInfo()
    call(_INFO, _InfoAttribute(map_fd, ctypes.sizeof(info), ctypes.addressof(info)))
    name = info.name.decode()
    return MapInfo(info.id, name, info.type, info.key_size, info.value_size, info.max_entries, info.map_flags)


def put_only(map_fd: int, value: bytes) -> None:
    """Set the element of an array that has one."""
    key, value_at = ctypes.c_uint32(0), ctypes.create_string_buffer(value, len(value))
    call(UPDATE, ElementAttribute(map_fd, ctypes.addressof(key), ctypes.addressof(value_at), 0))


def pin(descriptor: int, directory: int, name: str) -> None:
    """Give a map, a program or a link a name in a directory of a bpffs."""
    path = _path(directory, name)
    call(_PIN, _PinAttribute(ctypes.addressof(path), descriptor))


def pinned(directory: int, name: str) -> int:
    """A descriptor of what has this name there."""
    path = _path(directory, name)
    return call(_GET, _PinAttribute(ctypes.addressof(path)))


def wait_for_programs() -> None:
    """Return when no program runs any more that began before this call.

    membarrier(2) waits until all CPUs have left what RCU protects, as BPF programs are (kernel/sched/membarrier.c);
    where it is refused, this returns at once.
    """
    _libc.syscall(_SYSCALL_MEMBARRIER, _MEMBARRIER_GLOBAL, 0, 0)


def call(command: int, attribute: ctypes.Structure | ctypes.Array[Any]) -> int:
    """bpf(2) of this command, with so much of union bpf_attr. Raise OSError."""
    result = attempt(command, attribute)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attempt(command: int, attribute: ctypes.Structure | ctypes.Array[Any]) -> int:
    """The same, negative where it fails."""
    return _libc.syscall(_SYSCALL, command, ctypes.byref(attribute), ctypes.sizeof(attribute))


def _path(directory: int, name: str) -> ctypes.Array[ctypes.c_char]:
    """Of what has this name in the directory of the descriptor, whatever its path leads to meanwhile."""
    return ctypes.create_string_buffer(f"/proc/self/fd/{directory}/{name}".encode())


def _element(command: int, map_fd: int, key: ctypes.c_uint64 | None, value: int = 0) -> bool:
    attribute = ElementAttribute(map_fd, ctypes.addressof(key) if key is not None else 0, value, 0)
    try:
        call(command, attribute)
    except FileNotFoundError:
        return False
    return True
