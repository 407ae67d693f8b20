"""The BPF programs that this process has attached: what the kernel says of them, and their maps.

A test puts into a map what only a miss of the kernel leaves there.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from otel_tcplife.probe import bpf

_UPDATE, _PROG_BY_ID, _MAP_BY_ID, _INFO = 2, 13, 14, 15
_MOST_MAPS = 64


class _ProgInfo(ctypes.Structure):
    """The beginning of struct bpf_prog_info (include/uapi/linux/bpf.h)."""

    _fields_ = [
        ("before", ctypes.c_uint8 * 52),
        ("nr_map_ids", ctypes.c_uint32),
        ("map_ids", ctypes.c_uint64),
    ]


class _InfoAttribute(ctypes.Structure):
    """The part of union bpf_attr that BPF_OBJ_GET_INFO_BY_FD uses."""

    _fields_ = [("bpf_fd", ctypes.c_uint32), ("info_len", ctypes.c_uint32), ("info", ctypes.c_uint64)]


class KernelMap:
    """A map with 64-bit keys."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        [size] = re.findall(r"^value_size:\s*(\d+)$", _fdinfo(descriptor), re.MULTILINE)
        self._size = int(size)

    def keys(self) -> set[int]:
        """All keys."""
        return set(bpf.keys(self._descriptor))

    def get(self, key: int) -> bytes | None:
        """A value, None where there is none."""
        return bpf.lookup(self._descriptor, key, self._size)

    def put(self, key: int, value: bytes) -> None:
        """Set a value."""
        key_at, value_at = ctypes.c_uint64(key), ctypes.create_string_buffer(value, self._size)
        attribute = (ctypes.c_uint64 * 4)(self._descriptor, ctypes.addressof(key_at), ctypes.addressof(value_at), 0)
        bpf.call(_UPDATE, attribute)


@contextmanager
def own_map(name: str) -> Generator[KernelMap]:
    """The map of this name of the programs that this process has attached; other tracers have their own."""
    ids: set[int] = set()
    for program in _attached_programs():
        with _opened(_PROG_BY_ID, program) as descriptor:
            ids |= _maps_of(descriptor)
    [map_id] = [each for each in ids if bpf.map_name(each) == name]
    with _opened(_MAP_BY_ID, map_id) as descriptor:
        yield KernelMap(descriptor)


def skipped_runs(tracepoint: str) -> int | None:
    """How often the kernel has not run this process's program at this raw tracepoint, as it ran already on that CPU.

    None of a kernel that does not count that (before 5.12): it runs such a program within itself.
    """
    counts: list[int] = []
    for program in _attached_programs(tracepoint):
        with _opened(_PROG_BY_ID, program) as descriptor:
            counts += map(int, re.findall(r"^recursion_misses:\s*(\d+)$", _fdinfo(descriptor), re.MULTILINE))
    return sum(counts) if counts else None


def _attached_programs(tracepoint: str = "") -> set[int]:
    """Ids of those whose links this process has, or of those at a raw tracepoint."""
    found: set[int] = set()
    for path in Path("/proc/self/fdinfo").iterdir():
        with suppress(OSError):  # closed meanwhile
            text = path.read_text()
            if not tracepoint or re.search(rf"^tp_name:\s*{tracepoint}$", text, re.MULTILINE):
                found.update(map(int, re.findall(r"^prog_id:\s*(\d+)$", text, re.MULTILINE)))
    return found


def _maps_of(program: int) -> set[int]:
    """Ids of the maps of a program with this descriptor."""
    ids = (ctypes.c_uint32 * _MOST_MAPS)()
    info = _ProgInfo(nr_map_ids=_MOST_MAPS, map_ids=ctypes.addressof(ids))
    bpf.call(_INFO, _InfoAttribute(program, ctypes.sizeof(info), ctypes.addressof(info)))
    return set(ids[: info.nr_map_ids])


def _fdinfo(descriptor: int) -> str:
    return Path(f"/proc/self/fdinfo/{descriptor}").read_text()


@contextmanager
def _opened(command: int, of_id: int) -> Generator[int]:
    descriptor = bpf.call(command, (ctypes.c_uint32 * 3)(of_id, 0, 0))
    try:
        yield descriptor
    finally:
        os.close(descriptor)
