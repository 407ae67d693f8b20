"""A sink that keeps on disk what its receiver does not take at once, and sends it when the receiver is back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from otel_tcplife.export.otlp.logs import OtlpLogExporter
from otel_tcplife.export.otlp.request import Request
from otel_tcplife.export.otlp.sender import Sender, Sent, Settled
from otel_tcplife.export.otlp.spool import CannotSpool, Spool, Waiting
from otel_tcplife.log import logger
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.retry import Backoff
from otel_tcplife.pipeline.sink import NotNow
from otel_tcplife.session import SessionBatch

Book = Callable[[str, Outcome, int], None]
"""Counts records of a sink, by its name; only queues do, of which the spool is one."""

_PATIENCE = 0.4
"""Seconds that a receiver has for its answer before the request is put on disk, where kill -9 does not lose it."""
_TO_THE_NEXT_START = 1.0
"""Seconds before the end from which on what waits is left to the next start."""


@dataclass(eq=False)
class _Work:
    """A request for the thread that sends."""

    request: Request
    sent: Sent | None = None
    """What became of it, where export() waits for that."""
    waiting: Waiting | None = None
    """As it is in the spool, where it is in there."""


class SpoolingLogExporter:
    """A sink around an OtlpLogExporter. Its thread sends: what was handed over, or what waits in the spool, in order.

    What is in the spool is `spooled`, and what becomes of it later is booked as of `<name>_spool`.
    """

    def __init__(self, exporter: OtlpLogExporter, sender: Sender, spool: Spool, deadline: Deadline, book: Book) -> None:
        """`sender` is that of the exporter."""
        self.name = exporter.name
        self.task = exporter.task
        self._exporter = exporter
        self._sender = sender
        self._spool = spool
        self._deadline = deadline
        self._book = book
        self._failures = FailureLog(exporter.task)
        self._backoff = Backoff(deadline, lambda: spool.is_half_full)
        self._handed: _Work | None = None
        self._has_ended = False
        self._is_left = False
        """Whether what waits is left to the next start, whatever becomes of it now."""
        self._changed = threading.Condition()
        self._waits = self._has_earlier()
        """Whether the spool has something for us."""
        self._after = 0
        """The id of the last request that was settled."""
        self._settled: list[Waiting] = []
        """Those that could not be taken out of the spool yet."""
        self._fails = False
        """Whether the receiver has not taken what was sent last."""
        self._thread = threading.Thread(target=self._run, name=f"tcplife-{self.name}-spool", daemon=True)
        self._thread.start()

    def _has_earlier(self) -> bool:
        """Whether the spool has something of an earlier run; the user is told of that, and of what is damaged of it."""
        lost = 0
        with suppress(CannotSpool):
            lost = self._book_lost()
        waiting = self._spool.items(self.name)
        if earlier := waiting + lost:
            where = f"{self._spool.directory}, {lost} of them damaged" if lost else self._spool.directory
            logger.info("%d records of an earlier run wait in %s; they are sent first", earlier, where)
        return waiting > 0

    def _book_lost(self) -> int:
        """Count what the disk has lost of our records, and return how many that are. Raise CannotSpool."""
        lost = self._spool.take_lost(self.name)
        self._book(f"{self.name}_spool", Outcome.DAMAGED, lost)
        return lost

    @property
    def max_export_batch_size(self) -> int:
        """As many sessions as fit into the one request that a batch is here."""
        return self._exporter.sessions_in_request

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        """Send the batch, or put it into the spool. Raise NotNow where that has no room either."""
        batch = self._exporter.in_order(batch)
        request = self._exporter.encode(batch)
        with self._changed:
            if self._waits or self._handed:
                return self._keep([request], batch, {})
            sent = self._hand_over(request)
            if sent is None:
                return {Outcome.SPOOLED: request.items}
            outcomes = self._exporter.outcomes_of(sent)
            return self._keep(sent.left, batch[sum(outcomes.values()) :], outcomes)

    def shutdown(self, deadline: Deadline) -> None:
        """Send what waits while the receiver takes it and there is time; leave the rest to the next start."""
        with self._changed:
            time_left = max(deadline.remaining - _TO_THE_NEXT_START, 0)
            self._changed.wait_for(lambda: self._fails or self._has_ended or not self._waits, time_left)
            self._has_ended = True
            self._changed.notify_all()
        self._thread.join(deadline.remaining)
        with self._changed, suppress(CannotSpool):  # what is still being sent may arrive, and come again
            self._is_left = True
            self._take_out_settled()
            if waiting := self._spool.items(self.name):
                logger.info("%d records wait in %s for the next start", waiting, self._spool.directory)
        self._sender.close()

    def _hand_over(self, request: Request) -> Sent | None:
        """Have it sent at once; None where that takes so long that it is in the spool now."""
        handed = self._handed = _Work(request)
        self._changed.notify_all()
        while not self._changed.wait_for(lambda: handed.sent is not None, _PATIENCE):
            try:
                handed.waiting = self._add([request])
            except CannotSpool as failure:
                self._failures.failed(str(failure), "waiting for the receiver alone")
            else:
                return None
        self._handed = None
        return handed.sent

    def _keep(
        self, requests: list[Request], left: SessionBatch, outcomes: Mapping[Outcome, int]
    ) -> Mapping[Outcome, int]:
        """Put what is left into the spool; `outcomes` is what became of what was before it."""
        if not requests:
            return outcomes
        try:
            self._add(requests)
        except CannotSpool as failure:
            raise NotNow(str(failure), left, outcomes=outcomes) from failure
        return {**outcomes, Outcome.SPOOLED: sum(request.items for request in requests)}

    def _add(self, requests: list[Request]) -> Waiting:
        waiting = self._spool.add(self.name, requests)
        self._waits = True
        self._changed.notify_all()
        return waiting

    def _run(self) -> None:
        while work := self._next():
            sent = self._send(work.request)
            with self._changed:
                self._fails = sent.later is not None
                self._changed.notify_all()
            self._settle(work, sent)
            if sent.later:
                self._failures.failed(sent.later.reason, f"keeping all in {self._spool.directory}")
                self._backoff.wait(sent.later.after)
            else:
                self._failures.recovered()
                self._backoff.reset()

    def _send(self, request: Request) -> Sent:
        """Send it; what cannot be sent because of a fault of ours is rejected, or all behind it would wait for ever."""
        try:
            return self._sender.send([request])
        except Exception as error:  # noqa: BLE001 without this thread nothing would leave the spool
            rejected = Settled(request.items, request.items, was_taken=False)
            return Sent([rejected], why_rejected=f"{type(error).__name__}: {error}")

    def _next(self) -> _Work | None:
        """What is to be sent next; None when it is time to end."""
        with self._changed:
            while not self._has_ended:
                if self._handed and not self._handed.sent:
                    return self._handed
                if self._waits and self._deadline.remaining > _TO_THE_NEXT_START:
                    try:
                        if waiting := self._oldest():
                            return waiting
                        continue
                    except CannotSpool as failure:
                        self._failures.failed(str(failure), "retrying")
                self._changed.wait(_PATIENCE if self._waits else None)
        return None

    def _oldest(self) -> _Work | None:
        """What waits for longest in the spool, where anything does."""
        waiting = self._spool.oldest(self.name, self._after)
        with suppress(CannotSpool):  # later, then; what is not booked yet holds nothing up
            self._book_lost()
        if waiting is None:
            self._waits = False
            self._changed.notify_all()
            return None
        return _Work(waiting.request, waiting=waiting)

    def _settle(self, work: _Work, sent: Sent) -> None:
        with self._changed:
            if work.waiting is None:  # which export() is waiting for
                work.sent = sent
                self._changed.notify_all()
                return
            if self._handed is work:
                self._handed = None
            if self._is_left:
                return
            if sent.left and sent.settled:
                try:
                    self._spool.settle(work.waiting, sent.left)
                except CannotSpool:  # all of it is sent again then, and booked then
                    return
            for outcome, records in self._exporter.outcomes_of(sent).items():
                self._book(f"{self.name}_spool", outcome, records)
            if not sent.left:
                self._remove(work.waiting)

    def _remove(self, waiting: Waiting) -> None:
        """Take a request out of the spool, and those that could not be taken out before: none is sent again."""
        self._after = waiting.id
        self._settled.append(waiting)
        self._take_out_settled()

    def _take_out_settled(self) -> None:
        with suppress(CannotSpool):  # a full disk may have no room to write even that; later, then
            while self._settled:
                self._spool.settle(self._settled[-1], [])
                self._settled.pop()
