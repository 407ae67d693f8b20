"""Sessions as log records to an OTLP receiver, or to a file of OTLP."""

from __future__ import annotations

from collections.abc import Mapping

from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.request import Request
from otel_tcplife.export.otlp.sender import Sender, Sent
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.sink import NotNow
from otel_tcplife.session import SessionBatch

_MOST_SESSIONS = 8192
"""Of a batch, in one request or several: what does not depend on their number is a third of what 2048 cost to encode,
and of 4096 a fifth. They take 5 MB more than 4096 do, where so many end in a second."""
_USUAL_BYTES = 900
"""Of a record."""
_MARGIN = 1.05
"""A batch may have larger records than the one before."""


class OtlpLogExporter:
    """A sink that sends each batch in as many requests as its receiver takes it in."""

    max_export_batch_size = _MOST_SESSIONS

    def __init__(self, name: str, task: str, encoder: LogEncoder, sender: Sender, receiver: str) -> None:
        """`receiver` is for the eyes of the user."""
        self.name = name
        self.task = task
        self._encoder = encoder
        self._sender = sender
        self._rejections = FailureLog(f"have all logs accepted by {receiver}")
        self._bytes_of_record = float(_USUAL_BYTES)

    @property
    def sessions_in_request(self) -> int:
        """As many sessions as fit into a request if their records are as large as the last ones."""
        fitting = int(self._sender.most_bytes / (self._bytes_of_record * _MARGIN))
        return min(max(fitting, 1), _MOST_SESSIONS)

    def in_order(self, batch: SessionBatch) -> SessionBatch:
        """The sessions in the order that they have in a request."""
        return self._encoder.in_order(batch)

    def encode(self, batch: SessionBatch) -> Request:
        """One request for a batch, which is in_order()."""
        request = Request(self._encoder.encode(batch), len(batch))
        self._bytes_of_record = len(request.body) / max(len(batch), 1)
        return request

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        """Send the batch. Raise NotNow where the receiver may take it, or the rest of it, later."""
        batch = self.in_order(batch)
        sent = self._sender.send(self._encoder.requests(batch, self._sender.most_bytes))
        outcomes = self.outcomes_of(sent)
        if sent.later:
            raise NotNow(sent.later.reason, batch[sum(outcomes.values()) :], sent.later.after, outcomes)
        return outcomes

    def outcomes_of(self, sent: Sent) -> Mapping[Outcome, int]:
        """What became of the records that are settled; what is new about rejections is logged."""
        if sent.rejected:
            consequence = f"{sent.rejected} rejected, counted in tcplife.export.records"
            self._rejections.failed(sent.why_rejected or "no reason given", consequence)
        elif sent.taken:
            self._rejections.recovered()
        return {
            outcome: records
            for outcome, records in ((Outcome.EXPORTED, sent.taken), (Outcome.REJECTED, sent.rejected))
            if records
        }

    def shutdown(self, deadline: Deadline) -> None:
        """Close the connection."""
        del deadline
        self._sender.close()
