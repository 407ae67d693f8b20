"""The loss balance that the BPF program keeps, read through a memory map: no system call, no privilege."""

from __future__ import annotations

import mmap
from enum import IntEnum

import numpy as np

from otel_tcplife.probe.program import PAGE_SIZE


class Counter(IntEnum):
    """enum counter of bpf/tcplife.bpf.c, where each is explained."""

    SEEN = 0
    SUBMITTED = 1
    FILTERED = 2
    RING_FULL = 3
    MAP_FULL = 4
    NOT_FOLLOWED = 5
    OPENED = 6
    CLOSED = 7
    REPORTED = 8
    MISSED = 9


COUNTERS_OF_A_CPU = 16


class Counters:
    """The mapped array of counters."""

    def __init__(self, map_fd: int, cpus: int) -> None:
        """Map the array behind the descriptor, which stays the caller's. Raise OSError where that is refused."""
        size = cpus * COUNTERS_OF_A_CPU * 8
        self._map = mmap.mmap(map_fd, -(-size // PAGE_SIZE) * PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        self._values = np.frombuffer(self._map, np.uint64, cpus * COUNTERS_OF_A_CPU).reshape(cpus, COUNTERS_OF_A_CPU)

    def read(self) -> dict[Counter, int]:
        """The counts of all CPUs together, from when the program was loaded."""
        totals = self._values.sum(axis=0)
        return {counter: int(totals[counter]) for counter in Counter}

    def unmap(self) -> None:
        """Give the memory up, and the descriptor that keeps it; nothing can be read any more."""
        del self._values
        self._map.close()
