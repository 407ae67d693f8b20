"""Sessions as log records to an OTLP receiver."""

from __future__ import annotations

from collections.abc import Mapping

from otel_tcplife.export.otlp.config import OtlpConfig
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.reply import Retryable, Success
from otel_tcplife.export.otlp.transport import Transport
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.sink import NotNow
from otel_tcplife.session import SessionBatch


class OtlpLogExporter:
    """A sink: each batch is one request."""

    name = "otlp"
    max_export_batch_size = 2048
    """About 1.5 MB; the Collector's gRPC receiver takes up to 4 MiB."""

    def __init__(self, encoder: LogEncoder, transport: Transport, config: OtlpConfig, deadline: Deadline) -> None:
        """`config` is what the transport was opened with."""
        self._encoder = encoder
        self._transport = transport
        self._timeout = config.timeout
        self._deadline = deadline
        self._rejections = FailureLog(f"have all logs accepted by {config.shown}")

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        """Send the batch once. Raise NotNow where the receiver may take it later."""
        reply = self._transport.send(self._encoder.encode(batch), min(self._timeout, self._deadline.remaining))
        if isinstance(reply, Retryable):
            raise NotNow(reply.reason, reply.after)
        if isinstance(reply, Success):
            rejected, reason = min(reply.rejected, len(batch)), reply.message
        else:
            rejected, reason = len(batch), reply.reason
        if rejected:
            consequence = f"{rejected} rejected, counted in tcplife.export.records"
            self._rejections.failed(reason or "no reason given", consequence)
        else:
            self._rejections.recovered()
        return {Outcome.EXPORTED: len(batch) - rejected, Outcome.REJECTED: rejected}

    def shutdown(self, deadline: Deadline) -> None:
        """Close the connection."""
        del deadline
        self._transport.close()
