"""Encoded OTLP requests, and how one that is too large becomes several: between log records, or data points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_tcplife.export.otlp.config import Signal

_MESSAGES = {"logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest}


Body = bytes | memoryview


@dataclass(frozen=True)
class Request:
    """One request of a signal, as it is sent."""

    body: Body = field(repr=False)
    items: int
    """How many log records or data points it has."""


def message_of(signal: Signal, body: Body) -> ExportLogsServiceRequest | ExportMetricsServiceRequest:
    """The decoded request."""
    return _MESSAGES[signal].FromString(bytes(body))


def no_larger_than(most_bytes: int, request: Request, signal: Signal) -> Sequence[Request]:
    """The request in as many parts as it takes for none to be larger, in order.

    One item alone is never divided, however large it is.
    """
    if len(request.body) <= most_bytes or request.items < 2:
        return [request]
    return [part for half in halves(request, signal) for part in no_larger_than(most_bytes, half, signal)]


def halves(request: Request, signal: Signal) -> Sequence[Request]:
    """The request as two, the first half of its items and the second one. It has two items at least."""
    message = message_of(signal, request.body)
    middle = request.items // 2
    part = _logs if isinstance(message, ExportLogsServiceRequest) else _metrics
    wanted = (range(middle), range(middle, request.items))
    return [Request(part(message, items).SerializeToString(), len(items)) for items in wanted]


def _logs(message: Any, wanted: range) -> Message:
    part = ExportLogsServiceRequest()
    position = 0
    for resource_logs in message.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            records = _within(scope_logs.log_records, wanted, position)
            position += len(scope_logs.log_records)
            if records:
                target = part.resource_logs.add(resource=resource_logs.resource, schema_url=resource_logs.schema_url)
                target.scope_logs.add(scope=scope_logs.scope, schema_url=scope_logs.schema_url, log_records=records)
    return part


def _metrics(message: Any, wanted: range) -> Message:
    part = ExportMetricsServiceRequest()
    position = 0
    for resource_metrics in message.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            metrics: list[Metric] = []
            for metric in scope_metrics.metrics:
                points = _data(metric).data_points
                chosen = _within(points, wanted, position)
                position += len(points)
                if chosen:
                    metrics.append(_with_points(metric, chosen))
            if metrics:
                target = part.resource_metrics.add(
                    resource=resource_metrics.resource, schema_url=resource_metrics.schema_url
                )
                target.scope_metrics.add(
                    scope=scope_metrics.scope, schema_url=scope_metrics.schema_url, metrics=metrics
                )
    return part


def _within(items: Sequence[Any], wanted: range, position: int) -> Sequence[Any]:
    """Those of the items that are wanted, the first of which has this position among all."""
    return items[max(wanted.start - position, 0) : max(wanted.stop - position, 0)]


def _data(metric: Metric) -> Any:
    """The data of a metric, whatever its kind."""
    return getattr(metric, str(metric.WhichOneof("data")))


def _with_points(metric: Metric, points: Sequence[Any]) -> Metric:
    """The metric with these data points instead of its own."""
    part = Metric(name=metric.name, description=metric.description, unit=metric.unit, metadata=metric.metadata)
    data = getattr(part, str(metric.WhichOneof("data")))
    data.SetInParent()
    for name, value in _settings(_data(metric)):
        setattr(data, name, value)
    data.data_points.extend(points)
    return part


def _settings(data: Message) -> Iterator[tuple[str, Any]]:
    """What holds for all data points: temporality, and whether a sum is monotonic."""
    return ((field.name, value) for field, value in data.ListFields() if field.name != "data_points")
