"""The queue before a sink, with a thread that feeds it, so that no sink holds up the ring; it alone books records."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping

from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Ledger, Outcome
from otel_tcplife.pipeline.limits import Limits
from otel_tcplife.pipeline.retry import RetryingSink
from otel_tcplife.pipeline.sink import Sink
from otel_tcplife.session import SessionBatch, concatenated

_LAST_BREATH = 1.0
"""Seconds after the deadline in which a thread that has tried until then can still tell what it delivered."""


class SinkQueue:
    """Feeds a sink batches of the size that it takes, `schedule_delay` after the first of a batch at the latest.

    What the sink cannot deliver at present is exported again, more often while the queue is more than half full.
    Sessions that find the queue full are dropped. Where the sink raises an exception, what it had is rejected, and the
    next batch is fed: a thread that ended here would have all others wait for it, or lose all that is to come. What the
    sink has not accounted for when the deadline is over is unsent.
    """

    def __init__(self, sink: Sink, ledger: Ledger | None, deadline: Deadline, limits: Limits) -> None:
        """Without a ledger, nothing is booked."""
        self.sink = sink
        self._retrying = RetryingSink(sink, deadline, lambda: not self.has_room)
        self._ledger = ledger
        self._deadline = deadline
        self._limits = limits
        self._failures = FailureLog(f"handle sessions for {sink.name}")
        self._batches: deque[SessionBatch] = deque()
        self._waiting = 0
        self._exporting = 0
        """Sessions that the sink has now."""
        self._has_ended = False
        """Whether what waits, or is exported, has been booked as unsent."""
        self._all_put = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"tcplife-{sink.name}", daemon=True)
        self._thread.start()

    def put(self, batch: SessionBatch, unselected: int = 0) -> None:
        """Queue a batch, or as much of it as there is room for. Does not wait.

        `unselected` is how many sessions were left out of it, which are not to take up room here.
        """
        with self._changed:
            room = max(self._limits.max_queue_size - self._waiting, 0)
            taken = batch[:room]
            if len(taken):
                self._batches.append(taken)
                # Not for what only has to wait for more
                if not self._waiting or self._waiting + len(taken) >= self._batch_size:
                    self._changed.notify()
                self._waiting += len(taken)
        self._book({Outcome.DROPPED: len(batch) - len(taken), Outcome.UNSELECTED: unselected})

    @property
    def is_booked(self) -> bool:
        """Whether what becomes of its records is."""
        return self._ledger is not None

    @property
    def name(self) -> str:
        """That of the sink."""
        return self.sink.name

    @property
    def size(self) -> int:
        """Sessions that wait."""
        return self._waiting

    @property
    def capacity(self) -> int:
        """Sessions that may wait."""
        return self._limits.max_queue_size

    @property
    def has_room(self) -> bool:
        """Whether half of the queue is free."""
        return self._waiting <= self._limits.max_queue_size // 2

    @property
    def _batch_size(self) -> int:
        """Sessions that no longer wait for others: while they are exported, there has to be room for what comes."""
        return min(self.sink.max_export_batch_size, max(self._limits.max_queue_size // 2, 1))

    @property
    def is_idle(self) -> bool:
        """Whether all that came has been exported."""
        return not self._waiting and not self._exporting

    def shutdown(self) -> None:
        """After the deadline was set: return when all is exported, or when it is over; what is left is then unsent."""
        with self._changed:
            self._all_put = True  # a deadline that was set is too early to end at: what is drained comes after it
            self._changed.notify()
        self._thread.join(self._deadline.remaining + _LAST_BREATH)
        with self._changed:
            self._has_ended = True
            self._book({Outcome.UNSENT: self._waiting + self._exporting})

    def shutdown_sink(self) -> None:
        """Shut the sink down, unless it hangs."""
        if self._thread.is_alive():
            return
        try:
            self.sink.shutdown(self._deadline)
        except Exception as error:  # noqa: BLE001
            self._failures.failed(f"{type(error).__name__}: {error}", "it was shut down")

    def _run(self) -> None:
        while taken := self._next():
            try:
                self._export(taken)
                self._failures.recovered()
            except Exception as error:  # noqa: BLE001
                self._failures.failed(f"{type(error).__name__}: {error}", f"{self._exporting} rejected")
                self._settle({Outcome.REJECTED: self._exporting})

    def _export(self, taken: list[SessionBatch]) -> None:
        """Have the sink export these, and empty the list, so that no session is in memory twice, or after that."""
        batch = concatenated(taken)
        taken.clear()
        for outcomes in self._retrying.export(batch):
            self._settle(outcomes)

    def _settle(self, outcomes: Mapping[Outcome, int]) -> None:
        """Book what became of sessions that the sink has."""
        with self._changed:
            if not self._has_ended:  # too late: they were booked as unsent
                self._book(outcomes)
                self._exporting -= sum(outcomes.values())

    def _book(self, outcomes: Mapping[Outcome, int]) -> None:
        if self._ledger:
            for outcome, records in outcomes.items():
                self._ledger.count(self.sink.name, outcome, records)

    def _next(self) -> list[SessionBatch]:
        """The next batch, in parts; none when there will be none."""
        size = self._batch_size
        with self._changed:
            while not self._batches and not self._all_put:
                self._changed.wait()
            until = time.monotonic() + self._limits.schedule_delay
            while self._waiting < size and not self._deadline.is_set and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.5))
            taken: list[SessionBatch] = []
            room = size
            while room and self._batches:
                batch = self._batches.popleft()
                if len(batch) > room:
                    self._batches.appendleft(batch[room:])
                taken.append(batch[:room])
                room -= len(taken[-1])
            self._exporting = size - room
            self._waiting -= self._exporting
        return taken
