"""Metrics to an OTLP receiver, or to a file of OTLP, by the encoder of OpenTelemetry's exporters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData

from otel_tcplife.export.metrics.reader import Exported
from otel_tcplife.export.otlp.request import Request
from otel_tcplife.export.otlp.sender import Sender, Sent

if TYPE_CHECKING:  # SQLite is imported where there is a spool only
    from otel_tcplife.export.otlp.kept_metrics import KeptMetrics


class OtlpMetricExporter:
    """Sends all metrics of a collecting, in as many requests as the receiver's size makes of them."""

    def __init__(self, sender: Sender, kept: KeptMetrics | None = None) -> None:
        """`kept` keeps what could not be sent, until it could be, or for the next start."""
        self._sender = sender
        self._kept = kept

    def export(self, data: MetricsData) -> Exported:
        """Send each data point once; return which were not delivered, and why."""
        points = sum(
            len(metric.data.data_points)
            for resource_metrics in data.resource_metrics
            for scope_metrics in resource_metrics.scope_metrics
            for metric in scope_metrics.metrics
        )
        if not points:
            return Exported(0)
        if self._kept:
            self._kept.send_earlier(self._sender)
        sent = self._sender.send([Request(encode_metrics(data).SerializeToString(), points)])
        return Exported(
            points,
            tuple(_undelivered(sent, points)),
            sent.failure,
            is_worth_retrying=sent.later is not None,
            is_kept=self._kept is not None and self._kept.keep(sent.left),
            rejected=sent.rejected,
        )

    def close(self) -> None:
        """Give the connection up."""
        self._sender.close()


def _undelivered(sent: Sent, points: int) -> Iterable[int]:
    """By their position. Of a request that was taken in part nobody knows which, and none may be sent again."""
    position = 0
    for part in sent.settled:
        if not part.was_taken:
            yield from range(position, position + part.items)
        position += part.items
    yield from range(position, points)
