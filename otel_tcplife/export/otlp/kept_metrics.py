"""Metrics that could not be sent, on disk."""

from __future__ import annotations

from contextlib import suppress

from otel_tcplife.export.otlp.request import Request
from otel_tcplife.export.otlp.sender import Sender
from otel_tcplife.export.otlp.spool import CannotSpool, Spool, Waiting
from otel_tcplife.pipeline.failure_log import FailureLog


class KeptMetrics:
    """Metrics that could not be sent, in the spool: what this run has last of all, and what earlier runs have left."""

    def __init__(self, spool: Spool, stream: str) -> None:
        self._spool = spool
        self._stream = stream
        self._own: Waiting | None = None
        self._failures = FailureLog(f"keep metrics in {spool.directory}")

    def keep(self, left: list[Request]) -> bool:
        """Keep this instead of what was kept before, as it has all of that and more; return whether it is kept."""
        try:
            if self._own:
                self._own = self._spool.settle(self._own, left)
            elif left:
                self._own = self._spool.add(self._stream, left)
        except CannotSpool as failure:
            self._failures.failed(str(failure), "those of the last export are in memory only")
            return False
        self._failures.recovered()
        return bool(left)

    def send_earlier(self, sender: Sender) -> None:
        """Send what earlier runs have left, as far as the receiver takes it."""
        with suppress(CannotSpool):
            while (waiting := self._spool.oldest(self._stream)) and waiting != self._own:
                left = sender.send([waiting.request]).left
                self._spool.settle(waiting, left)
                if left:
                    break
