"""One pipeline, of the command and of an application: a source, its sinks, and the balance of what became of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from otel_tcplife.errors import BadUsage
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.limits import Limits
from otel_tcplife.pipeline.losses import LossWatch
from otel_tcplife.pipeline.queue import SinkQueue
from otel_tcplife.pipeline.scan_requests import ScanRequests
from otel_tcplife.pipeline.sink import InlineSink, OpenSink, Sinks
from otel_tcplife.pipeline.source import Source
from otel_tcplife.session import SessionBatch


class Pipeline:
    """Sessions on their way from a source to the sinks."""

    def __init__(
        self,
        source: Source,
        sinks: Sinks,
        ledger: Ledger,
        deadline: Deadline,
        limits: Limits,
        scans: ScanRequests | None = None,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the threads of the queues. The source stays the caller's, to be closed after run().

        `scans` is where sinks ask for scans of the open sessions; `go_on` is called each time that the source was read.
        """
        self._go_on = go_on
        self._source = source
        self._ledger = ledger
        self._deadline = deadline
        self._queues = [SinkQueue(sink, ledger, deadline, limits) for sink in sinks.queued]
        if sinks.table:
            self._queues.append(SinkQueue(sinks.table, None, deadline, replace(limits, schedule_delay=0)))
        self._select = sinks.select
        self._close = sinks.close
        self._inline = [_Guarded(sink) for sink in sinks.inline]
        self._open = [*self._inline, *(_GuardedOpen(sink) for sink in sinks.open)]
        self._scans = scans

    def run(self) -> None:
        """Feed the sinks until the source has ended or the deadline is set, then drain all.

        What the source raises ends it, but all that was read is delivered before it goes on from here.
        """
        try:
            self._read()
        except BadUsage:  # of a recording, which has nothing to drain
            self._shutdown()
            raise
        except BaseException:
            with suppress(Exception):  # the first error tells more than what follows from it
                self._drain()
            raise
        self._drain()

    @property
    def queues(self) -> Sequence[SinkQueue]:
        """Those before the sinks whose records are booked."""
        return [queue for queue in self._queues if queue.is_booked]

    def balance(self) -> list[str]:
        """What became of all sessions, in a line each: first in the kernel, then in each sink."""
        stats = self._source.stats()
        kernel = [f"{count} {outcome}" for outcome, count in stats.outcomes.items() if count]
        kernel += [f"and {stats.reports} interim reports"] if stats.reports else []
        kernel += [f"and {stats.missed} state changes missed, and inferred"] if stats.missed else []
        kernel += [f"and {stats.untraced} processes not traced, for want of room"] if stats.untraced else []
        by_sink: dict[str, list[str]] = {}
        for (sink, outcome), count in self._ledger.totals().items():
            by_sink.setdefault(sink, []).append(f"{count} {outcome.value}")
        lines = {f"{stats.seen} sessions ended": kernel, **dict(sorted(by_sink.items()))}
        return [": ".join([what, ", ".join(counts)]) if counts else what for what, counts in lines.items()]

    def _read(self) -> None:
        source, deadline = self._source, self._deadline
        losses = LossWatch(source.stats, self._ledger)
        while not deadline.is_set and not source.ended:
            if source.can_wait and not all(queue.has_room for queue in self._queues):
                deadline.wait(0.01)
                self._go_on()
                continue
            self._feed(source.read())
            wants_scan = source.wants_scan or (self._scans is not None and self._scans.is_wanted)
            if wants_scan:
                self._scan()
            losses.look()
            self._go_on()
            if not wants_scan:  # which may have filled the ring with reports
                source.wait(deadline)
        # A recording that was read to its end is not given up because its receiver is away for a while
        while not deadline.is_set and not all(queue.is_idle for queue in self._queues):
            deadline.wait(0.02)
            self._go_on()

    def _drain(self) -> None:
        self._deadline.set()
        try:
            if self._open:
                self._scan()
            self._feed(self._source.drain())
        finally:
            self._shutdown()

    def _shutdown(self) -> None:
        self._deadline.set()
        if self._scans:
            self._scans.close()
        for queue in self._queues:
            queue.shutdown()
        for queue in self._queues:
            queue.shutdown_sink()
        for sink in self._inline:  # the metrics, which have all records counted now
            sink.shutdown(self._deadline)
        for close in self._close:
            close()

    def _scan(self) -> None:
        """Count what open sessions have done since the last scan."""
        if self._scans:
            self._scans.begin()
        waiting: SessionBatch | None = None
        for batch in self._source.open_sessions():
            if waiting is not None:
                self._feed_open(waiting, is_last=False)
            waiting = batch
        if waiting is not None:
            self._feed_open(waiting, is_last=True)
        if self._scans:
            self._scans.end()

    def _feed_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        for sink in self._open:
            sink.add_open(batch, is_last=is_last)

    def _feed(self, batch: SessionBatch) -> None:
        if len(batch):
            for sink in self._inline:
                sink.add(batch)
            selected = self._select(batch) if self._select else batch
            for queue in self._queues:
                if queue.is_booked:
                    queue.put(selected, len(batch) - len(selected))
                else:  # the table, which is no telemetry
                    queue.put(batch)


class _GuardedOpen:
    """A sink of open sessions whose exceptions end nothing."""

    def __init__(self, sink: OpenSink) -> None:
        self._open_sink = sink
        self._failures = FailureLog("count sessions in the metrics")

    def add_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        try:
            self._open_sink.add_open(batch, is_last=is_last)
        except Exception as error:  # noqa: BLE001
            self._failures.failed(f"{type(error).__name__}: {error}", f"{len(batch)} open ones are not")


class _Guarded(_GuardedOpen):
    """An inline sink whose exceptions end nothing."""

    def __init__(self, sink: InlineSink) -> None:
        super().__init__(sink)
        self._sink = sink

    def add(self, batch: SessionBatch) -> None:
        try:
            self._sink.add(batch)
        except Exception as error:  # noqa: BLE001
            self._failures.failed(f"{type(error).__name__}: {error}", f"{len(batch)} sessions are not")
        else:
            self._failures.recovered()

    def shutdown(self, deadline: Deadline) -> None:
        try:
            self._sink.shutdown(deadline)
        except Exception as error:  # noqa: BLE001
            self._failures.failed(f"{type(error).__name__}: {error}", "the last metrics may be lost")
