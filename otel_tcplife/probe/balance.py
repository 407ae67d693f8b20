"""The balance of one run: what became of the sessions that were seen to end while it lasted.

The counters of a program that stays in the kernel go on from run to run, and so does what has not been read yet. Each
run notes in a map beside them, `taken`, what it has read, and what was lost by then. What it has added there is its
balance.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping

import numpy as np

from otel_tcplife.pipeline.source import Stats
from otel_tcplife.probe.counters import COUNTERS_OF_A_CPU, Counter, Counters
from otel_tcplife.session import Event, SessionBatch

TAKEN_SIZE = COUNTERS_OF_A_CPU * 8
"""Bytes of that map."""

_LOSSES = (Counter.FILTERED, Counter.RING_FULL, Counter.MAP_FULL, Counter.NOT_FOLLOWED, Counter.MISSED)
"""What is known as soon as the kernel has counted it; what is submitted has to be read as well."""


class Balance:
    """The counters of a program, and what was taken of them. One thread takes; others may ask."""

    def __init__(self, counters: Counters, taken_fd: int | None = None, before: Stats | None = None) -> None:
        """Begin where the run before has ended, if there is a map of what was taken; else at zero.

        `before` is the balance of a program that this one has replaced, as far as it is this run's. Raise OSError where
        the map cannot be mapped into memory.
        """
        self._counters = counters
        self._before = before or Stats(outcomes={}, seen=0)
        self._map = mmap.mmap(taken_fd, mmap.PAGESIZE) if taken_fd is not None else None
        self._taken = np.frombuffer(self._map or bytearray(TAKEN_SIZE), np.uint64, COUNTERS_OF_A_CPU)
        self._start = self._read_taken()

    def take(self, batch: SessionBatch) -> None:
        """These were read from the ring."""
        reports = int(np.count_nonzero(batch["event"] == Event.SESSION_PROGRESS))
        self._taken[Counter.SUBMITTED] += len(batch) - reports
        self._taken[Counter.REPORTED] += reports
        if self._map is not None:
            counts = self._counters.read()
            for counter in _LOSSES:
                self._taken[counter] = counts[counter.name]

    def take_ownerless(self, count: int, *, filtered: bool) -> None:
        """So many have waited too long for their owner, and are taken without one, or are not wanted then."""
        self._taken[Counter.OWNERLESS_FILTERED if filtered else Counter.OWNERLESS] += count

    def stats(self, unclaimed: int) -> Stats:
        """The balance so far, from one reading of the counters of the kernel, or of what was taken of them.

        What is known only from a state change that was missed is unknown, and nothing else is: see
        infer_missed_states() in bpf/ending.h.
        """
        kernel, taken = self._counters.read(), self._read_taken()
        own = {name: taken[name] for name in ("OWNERLESS", "OWNERLESS_FILTERED")}
        counts, before = taken if self._map else {**kernel, **own}, self._before
        found = outcomes(counts, self._start)
        found["unclaimed"] += unclaimed
        return Stats(
            outcomes={name: count + before.outcomes.get(name, 0) for name, count in found.items()},
            seen=sum(found.values()) + before.seen if self._map else kernel["SEEN"],
            active=kernel["OPENED"] - kernel["CLOSED"],
            reports=counts["REPORTED"] - self._start["REPORTED"] + before.reports,
            missed=counts["MISSED"] - self._start["MISSED"] + before.missed,
            untraced=kernel["UNTRACED"],
        )

    def unmap(self) -> None:
        """Give the memory up, and the descriptors that keep it; nothing can be read any more."""
        del self._taken
        self._counters.unmap()
        if self._map is not None:
            self._map.close()

    def _read_taken(self) -> dict[str, int]:
        return {counter.name: int(self._taken[counter]) for counter in Counter}


def outcomes(counts: Mapping[str, int], start: Mapping[str, int]) -> dict[str, int]:
    """What became of sessions between two readings of the counters, by `tcplife.outcome`."""
    grown = {name: count - start.get(name, 0) for name, count in counts.items()}
    return {
        "submitted": grown["SUBMITTED"] + grown.get("OWNERLESS", 0),
        "filtered": grown["FILTERED"] + grown.get("OWNERLESS_FILTERED", 0),
        "ring_full": grown["RING_FULL"],
        "map_full": grown["MAP_FULL"],
        "not_followed": grown["NOT_FOLLOWED"],
        "unclaimed": grown.get("UNCLAIMED", 0),
    }
