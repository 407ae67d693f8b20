"""One program in a directory of pins, and what is left in the maps of those that it replaces."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from otel_tcplife.pipeline.source import Stats
from otel_tcplife.probe import bpf
from otel_tcplife.probe.awaiting_owner import take_ownerless
from otel_tcplife.probe.balance import TAKEN_SIZE, outcomes
from otel_tcplife.probe.counters import Counters
from otel_tcplife.probe.kernel_objects import fill_hook
from otel_tcplife.probe.pin_directory import PinDirectory
from otel_tcplife.probe.ring import Ring
from otel_tcplife.probe.stamp import STAMP_SIZE, Stamp, decoded
from otel_tcplife.session import SESSION, SessionBatch, concatenated, empty, ended

_LAST_RECORDS_WITHIN = 0.5
"""Seconds that a record that is still being written is waited for."""

_ANY_TIME = (1 << 64) - 1


class PinnedSet:
    """A set that is whole."""

    def __init__(self, directory: int, number: int, stamp: Stamp) -> None:
        """Own the descriptor of its directory."""
        self._directory = directory
        self.number = number
        self.stamp = stamp

    def has(self, name: str) -> bool:
        """Whether it has a pin of this name."""
        return name in self.stamp.pins

    def get(self, name: str) -> int:
        """A new descriptor of what is pinned by this name."""
        return bpf.pinned(self._directory, name)

    @contextmanager
    def opened(self, name: str) -> Generator[int]:
        """One for the `with` block."""
        descriptor = self.get(name)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def map_id(self, name: str) -> int:
        """Which map of the kernel it is."""
        with self.opened(name) as descriptor:
            return bpf.map_info(descriptor).id

    def run(self) -> None:
        """Have each hook run the program of this set."""
        for name in self.stamp.pins:
            if name.startswith("hook_"):
                tracepoint = name.removeprefix("hook_")
                with self.opened(name) as hook, self.opened(f"program_{tracepoint}") as program:
                    fill_hook(hook, program)

    def close(self) -> None:
        """Close its directory."""
        os.close(self._directory)


def open_whole(pins: PinDirectory, number: int) -> PinnedSet | None:
    """The set of this number; None if something of it is missing, or it cannot be read by this version."""
    directory = pins.open_set(number)
    try:
        names = {*os.listdir(directory)}
        if "map_stamp" in names:
            stamp_map = bpf.pinned(directory, "map_stamp")
            try:
                stamp = decoded(bpf.lookup(stamp_map, 0, STAMP_SIZE) or b"")
            finally:
                os.close(stamp_map)
            if stamp and names.issuperset(stamp.pins):
                return PinnedSet(os.dup(directory), number, stamp)
        return None
    finally:
        os.close(directory)


@dataclass
class Left:
    """What was left in the maps of programs that were replaced."""

    unread: SessionBatch = field(default_factory=lambda: empty(0))
    """Of the ring; the counters that have them are those of the program that goes on."""
    ownerless: SessionBatch = field(default_factory=lambda: empty(0))
    """Such that waited for their owner."""
    counted: SessionBatch = field(default_factory=lambda: empty(0))
    """Of programs that had counters of their own: the sessions that are submitted in their balance, and reports."""
    balance: Stats = field(default_factory=lambda: Stats(outcomes={}, seen=0))
    """Of these programs, as far as no run has had it."""


def take_over(old: Iterable[PinnedSet], new: PinnedSet) -> Left:
    """Take what is left in the maps of programs that do not run any more, the oldest first."""
    left, done = Left(), {new.map_id(f"map_{name}") for name in ("ring", "awaiting_owner")}
    by_counters: dict[int, list[PinnedSet]] = {}
    for each in old:
        by_counters.setdefault(each.map_id("map_counters"), []).append(each)
    for counters, sets in by_counters.items():
        unread = concatenated([rows for each in sets for rows in _once(each, "map_ring", done, _read_ring)])
        ownerless = concatenated([rows for each in sets for rows in _once(each, "map_awaiting_owner", done, _sweep)])
        if counters == new.map_id("map_counters"):
            left.unread = concatenated([left.unread, unread])
            left.ownerless = concatenated([left.ownerless, ownerless])
        else:
            left.counted = concatenated([left.counted, unread, ownerless])
            left.balance = _sum([left.balance, _balance(sets[-1], unread, ownerless)])
    return left


def _once(
    pinned: PinnedSet, name: str, done: set[int], take: Callable[[int, np.dtype[np.void]], SessionBatch]
) -> Iterator[SessionBatch]:
    """The rows of a map, unless it was taken from already."""
    with pinned.opened(name) as descriptor:
        map_id = bpf.map_info(descriptor).id
        if map_id not in done:
            done.add(map_id)
            yield take(descriptor, pinned.stamp.dtype)


def _read_ring(map_fd: int, row: np.dtype[np.void]) -> SessionBatch:
    ring = Ring(map_fd, bpf.map_info(map_fd).max_entries)
    try:
        if row == SESSION:
            return ring.read_rest(_LAST_RECORDS_WITHIN)
        records = [record for record in ring.records() if len(record) == row.itemsize]
        return _of_this_version(np.frombuffer(b"".join(records), row))
    finally:
        ring.unmap()


def _sweep(map_fd: int, row: np.dtype[np.void]) -> SessionBatch:
    return _of_this_version(take_ownerless(map_fd, _ANY_TIME, row))


def _of_this_version(rows: npt.NDArray[np.void]) -> SessionBatch:
    """Rows of another version; what that did not have is unknown."""
    batch = empty(len(rows))
    for name in SESSION.names or ():
        if name in (rows.dtype.names or ()) and rows[name].shape == batch[name].shape:
            batch[name] = rows[name]
    return batch


def _balance(pinned: PinnedSet, unread: SessionBatch, ownerless: SessionBatch) -> Stats:
    """That of a program that does not run any more and whose last sessions are these, less what runs before had."""
    numbers = pinned.stamp.counters
    with pinned.opened("map_counters") as descriptor:
        info = bpf.map_info(descriptor)
        counters = Counters(descriptor, info.max_entries, info.value_size // 8)
        counts = counters.read(numbers)
        counters.unmap()
    with pinned.opened("map_taken") as descriptor:
        values = np.frombuffer(bpf.lookup(descriptor, 0, TAKEN_SIZE) or bytes(TAKEN_SIZE), np.uint64)
    taken = {name: int(values[number]) for name, number in numbers.items()}
    ends = len(ended(unread))
    last = {
        **counts,
        "SUBMITTED": taken["SUBMITTED"] + ends,
        "OWNERLESS": taken["OWNERLESS"] + len(ownerless),
        "OWNERLESS_FILTERED": taken["OWNERLESS_FILTERED"],
    }
    found = outcomes(last, taken)
    missed = counts["MISSED"] - taken["MISSED"]
    return Stats(outcomes=found, seen=sum(found.values()), reports=len(unread) - ends, missed=missed)


def _sum(all_of: Sequence[Stats]) -> Stats:
    names = dict.fromkeys(name for each in all_of for name in each.outcomes)
    return Stats(
        outcomes={name: sum(each.outcomes.get(name, 0) for each in all_of) for name in names},
        seen=sum(each.seen for each in all_of),
        reports=sum(each.reports for each in all_of),
        missed=sum(each.missed for each in all_of),
    )
