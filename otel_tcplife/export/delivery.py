"""Encoded sessions to the receiver, for as long as that takes."""

from __future__ import annotations

import random
import time

from otel_tcplife.export.log_encoder import LogEncoder
from otel_tcplife.export.otlp_config import OtlpConfig
from otel_tcplife.export.reply import Accepted, Refused, Retry
from otel_tcplife.export.transport import Transport
from otel_tcplife.ledger import Ledger, Outcome
from otel_tcplife.say import Say, Trouble
from otel_tcplife.session import SessionBatch
from otel_tcplife.worker import Stop

RECORDS_IN_REQUEST = 2048
"""About 1.5 MB; the Collector's gRPC receiver takes up to 4 MiB."""

_FIRST_WAIT, _LONGEST_WAIT, _LAST_WAIT = 1.0, 30.0, 0.5
_LONGEST_ASKED = 300.0
"""Seconds; a receiver that asks for more is asked again sooner."""


class Delivery:
    """Sends batches as OTLP log records, and books what becomes of them."""

    def __init__(
        self,
        name: str,
        encoder: LogEncoder,
        transport: Transport,
        config: OtlpConfig,
        ledger: Ledger,
        stop: Stop,
        say: Say,
    ) -> None:
        """`name` is that of this way out in the ledger; `config` is what the transport was opened with."""
        self._name = name
        self._encoder = encoder
        self._transport = transport
        self._timeout = config.timeout
        self._ledger = ledger
        self._stop = stop
        self._away = Trouble(say, f"export logs to {config.shown}")
        self._refusal = Trouble(say, f"have all logs accepted by {config.shown}")

    def __call__(self, batch: SessionBatch) -> None:
        """Send one batch: try until the receiver takes or refuses it, or until all must have ended."""
        body = self._encoder.encode(batch)
        wait = _FIRST_WAIT
        while left := min(self._timeout, self._stop.left):
            reply = self._transport.send(body, left)
            if not isinstance(reply, Retry):
                self._book(len(batch), reply)
                return
            self._away.began(reply.reason, "retrying")
            self._wait(max(wait * random.uniform(0.8, 1.2), min(reply.after or 0, _LONGEST_ASKED)))
            wait = min(2 * wait, _LONGEST_WAIT)

    def _wait(self, seconds: float) -> None:
        """Wait so long, or for a moment once a stop is asked: there is only little time left then."""
        if self._stop.wait(seconds):
            time.sleep(min(_LAST_WAIT, self._stop.left))

    def _book(self, records: int, reply: Accepted | Refused) -> None:
        self._away.over()
        if isinstance(reply, Accepted):
            rejected, reason = min(reply.rejected, records), reply.message
        else:
            rejected, reason = records, reply.reason
        if rejected:
            self._refusal.began(reason or "no reason given", f"{rejected} rejected, counted in tcplife.export.records")
            self._ledger.count(self._name, Outcome.REJECTED, rejected)
        else:
            self._refusal.over()
        if records > rejected:
            self._ledger.count(self._name, Outcome.EXPORTED, records - rejected)
