"""What the command says of itself: its exporters, queues, spool, CPU time and memory."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from otel_tcplife.instruments import DURATION_BOUNDS, CounterMetric
from otel_tcplife.own_metrics import (
    COMPONENT_TYPE,
    CPU_TIME,
    ERROR_TYPE,
    LOG_EXPORTED,
    LOG_INFLIGHT,
    MEMORY_USAGE,
    POINTS_EXPORTED,
    QUEUE_CAPACITY,
    QUEUE_SIZE,
    RETRIES,
    SPOOL_AGE,
    SPOOL_SIZE,
)
from otel_tcplife.pipeline.counters import Totals
from otel_tcplife.pipeline.queue import SinkQueue

_REJECTED = {ERROR_TYPE: "rejected"}
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Durations:
    """How long operations took: in seconds, and how many are in each bucket of DURATION_BOUNDS."""

    sum: float = 0.0
    counts: tuple[int, ...] = (0,) * (len(DURATION_BOUNDS) + 1)

    def __sub__(self, earlier: Durations) -> Durations:
        counts = tuple(count - before for count, before in zip(self.counts, earlier.counts))
        return Durations(self.sum - earlier.sum, counts)

    def with_one(self, seconds: float) -> Durations:
        """These and one more."""
        counts = [*self.counts]
        counts[bisect_left(DURATION_BOUNDS, seconds)] += 1
        return Durations(self.sum + seconds, tuple(counts))


@dataclass
class ExporterStats:
    """What an exporter has done. Its thread writes, and that of the metrics reads."""

    component: str
    """`otel.component.type`."""
    signal: str
    in_flight: int = 0
    """Log records or data points that are being sent."""
    taken: int = 0
    rejected: int = 0
    retries: int = 0
    durations: Durations = field(default_factory=Durations)
    _began: float | None = None

    def begin(self, items: int) -> None:
        """Sending begins, or what could not be sent before is sent again."""
        self.in_flight = items
        self._began = time.monotonic() if self._began is None else self._began

    def end(self, taken: int, rejected: int, *, is_over: bool) -> None:
        """So many items were settled. It is not over where some are left that are sent again."""
        self.in_flight = 0
        self.taken += taken
        self.rejected += rejected
        self.retries += not is_over
        if is_over and self._began is not None:
            self.durations = self.durations.with_one(time.monotonic() - self._began)
            self._began = None


class SpoolLike(Protocol):
    """What is said of the spool."""

    @property
    def bytes(self) -> int:
        """Bytes of all requests that wait."""
        ...

    def age(self) -> float | None:
        """Seconds since the oldest request has begun to wait, 0 where none does; None where that is not known."""
        ...


class SelfTelemetry:
    """Knows what the counters of the command's own work are read from. Threads may add to it and read it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exporters: list[ExporterStats] = []
        self.queues: Sequence[SinkQueue] = ()
        self.spool: SpoolLike | None = None

    def exporter(self, component: str, signal: str) -> ExporterStats:
        """The counts of one more exporter."""
        stats = ExporterStats(component, signal)
        with self._lock:
            self._exporters.append(stats)
        return stats

    def counters(self) -> dict[CounterMetric, Totals]:
        """Each counter; of what the command does not have, there are no values."""
        return {
            LOG_INFLIGHT: lambda: self._of_exporters("logs", lambda stats: [({}, stats.in_flight)]),
            LOG_EXPORTED: lambda: self._of_exporters("logs", _finished),
            POINTS_EXPORTED: lambda: self._of_exporters("metrics", _finished),
            RETRIES: lambda: self._of_exporters(None, lambda stats: [({}, stats.retries)]),
            QUEUE_SIZE: lambda: [(_queue(queue), queue.size) for queue in self.queues],
            QUEUE_CAPACITY: lambda: [(_queue(queue), queue.capacity) for queue in self.queues],
            SPOOL_SIZE: lambda: [({}, self.spool.bytes)] if self.spool else [],
            SPOOL_AGE: self._spool_age,
            CPU_TIME: _cpu_time,
            MEMORY_USAGE: _memory_usage,
        }

    def durations(self) -> list[tuple[Mapping[str, str], Durations]]:
        """How long the operations of each exporter took."""
        with self._lock:
            return [({COMPONENT_TYPE: stats.component}, stats.durations) for stats in self._exporters]

    def _spool_age(self) -> list[tuple[Mapping[str, str], float]]:
        age = self.spool.age() if self.spool else None
        return [] if age is None else [({}, age)]

    def _of_exporters(
        self, signal: str | None, values: Callable[[ExporterStats], Iterable[tuple[Mapping[str, str], int]]]
    ) -> list[tuple[Mapping[str, str], int]]:
        with self._lock:
            exporters = [stats for stats in self._exporters if signal in (None, stats.signal)]
        return [
            ({COMPONENT_TYPE: stats.component, **attributes}, value)
            for stats in exporters
            for attributes, value in values(stats)
        ]


def _finished(stats: ExporterStats) -> Iterable[tuple[Mapping[str, str], int]]:
    return [({}, stats.taken), (_REJECTED, stats.rejected)]


def _queue(queue: SinkQueue) -> Mapping[str, str]:
    return {"otel.component.name": queue.name, COMPONENT_TYPE: "batching_log_processor"}


def _cpu_time() -> list[tuple[Mapping[str, str], float]]:
    times = os.times()
    return [({"cpu.mode": "user"}, times.user), ({"cpu.mode": "system"}, times.system)]


def _memory_usage() -> list[tuple[Mapping[str, str], int]]:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:  # proc_pid_statm(5)
            return [({}, int(statm.read().split()[1]) * _PAGE)]
    except OSError:  # such as where no descriptor is left
        return []
