"""The loss balance that the BPF program keeps, read through a memory map: no system call, no privilege."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from enum import IntEnum

import numpy as np


class Counter(IntEnum):
    """What each counts; the program gets these numbers as COUNTER_SEEN and so on."""

    SEEN = 0
    """Sessions and connects that came to an end: all of the next five, UNCLAIMED, and those whose owner is awaited."""
    SUBMITTED = 1
    """They are in the ring."""
    FILTERED = 2
    """The filters do not select them."""
    RING_FULL = 3
    """Lost: there was no room in the ring."""
    MAP_FULL = 4
    """Lost: there was no room in the map of flows when they began."""
    NOT_FOLLOWED = 5
    """Lost: no process had them when tracing began; or all of their end was missed."""
    OPENED = 6
    """Followed sessions that reached ESTABLISHED."""
    CLOSED = 7
    """Followed sessions that came to an end after that."""
    REPORTED = 8
    """Interim reports in the ring, of sessions that go on."""
    MISSED = 9
    """State changes that were not seen when they came, and were inferred."""
    UNTRACED = 10
    """Processes that a traced one forked, and that are not traced for want of room: none of their sessions is seen."""
    UNCLAIMED = 11
    """Lost: of scope process, it was not known whose they were, and nobody could come to close them. User space adds
    those for whose owner it has waited too long."""
    OWNERLESS = 14
    """Sessions that waited too long for their owner, and were taken. User space alone counts these and the next."""
    OWNERLESS_FILTERED = 15
    """Such of which the filters select none without an owner."""


NUMBERS: Mapping[str, int] = {counter.name: counter.value for counter in Counter}

COUNTERS_OF_A_CPU = 16


class Counters:
    """The mapped array of counters."""

    def __init__(self, map_fd: int, cpus: int, width: int = COUNTERS_OF_A_CPU) -> None:
        """Map the array behind the descriptor, which stays the caller's. Raise OSError where that is refused.

        `width` is how many counters a CPU has.
        """
        size = cpus * width * 8
        self._map = mmap.mmap(map_fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        self._values = np.frombuffer(self._map, np.uint64, cpus * width).reshape(cpus, width)

    def read(self, names: Mapping[str, int] = NUMBERS) -> dict[str, int]:
        """The counts of all CPUs together by name, from when the program was loaded.

        `names` are the numbers by name, where they are not those of this version.
        """
        totals = self._values.sum(axis=0)
        return {name: int(totals[number]) for name, number in names.items()}

    def unmap(self) -> None:
        """Give the memory up, and the descriptor that keeps it; nothing can be read any more."""
        del self._values
        self._map.close()
