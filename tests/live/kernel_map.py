"""A BPF map of the program under test, to put into it what only a miss of the kernel leaves there."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from otel_tcplife.probe import bpf

_UPDATE, _FD_BY_ID = 2, 14


class KernelMap:
    """A map with 64-bit keys."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        [size] = re.findall(r"^value_size:\s*(\d+)$", Path(f"/proc/self/fdinfo/{descriptor}").read_text(), re.MULTILINE)
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
def newest_map(name: str) -> Generator[KernelMap]:
    """The map of this name that was made last."""
    map_id = [each for each in bpf.map_ids() if bpf.map_name(each) == name][-1]
    descriptor = bpf.call(_FD_BY_ID, (ctypes.c_uint32 * 3)(map_id, 0, 0))
    try:
        yield KernelMap(descriptor)
    finally:
        os.close(descriptor)
