"""Metrics to an OTLP receiver, or to a file of OTLP, by the encoder of OpenTelemetry's exporters."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData

from otel_tcplife.export.metrics.reader import Exported
from otel_tcplife.export.otlp.request import Request
from otel_tcplife.export.otlp.sender import Sender, Sent


class OtlpMetricExporter:
    """Sends all metrics of a collecting, in as many requests as the receiver's size makes of them."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

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
        sent = self._sender.send([Request(encode_metrics(data).SerializeToString(), points)])
        return Exported(points, tuple(_undelivered(sent, points)), _failure(sent), sent.later is not None)

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


def _failure(sent: Sent) -> str:
    if sent.later:
        return sent.later.reason
    return f"{sent.why_rejected or 'no reason given'}; {sent.rejected} data points rejected" if sent.rejected else ""
