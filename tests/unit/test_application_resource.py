"""Of an application, all is below its one resource, as its own providers have it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.reply import Reply, Success
from otel_tcplife.export.otlp.request import Body
from otel_tcplife.export.otlp.sinks import Opening, OtlpSinks, Target
from otel_tcplife.export.resource import Resources
from otel_tcplife.pipeline.counters import counters
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.scan_requests import ScanRequests
from otel_tcplife.pipeline.self_telemetry import SelfTelemetry
from otel_tcplife.pipeline.sink import Sinks
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.session import SessionBatch
from tests.support.batches import batches
from tests.support.entities import HOST, spread
from tests.support.sdk_logs import encoded_by_the_sdk, in_order
from tests.support.sessions import sessions

_RESOURCE = Resource({"service.name": "app", "process.pid": 5, "some.list": ["a", "b"]}, "https://example.org/schema")
_RESOURCES = Resources(_RESOURCE, is_of_application=True)


@settings(max_examples=100)
@given(batch=batches(9), cgroups=st.lists(st.integers(0, 9), min_size=9, max_size=9))
def test_the_logs_are_those_of_its_logger_provider(batch: SessionBatch, cgroups: list[int]) -> None:
    spread(batch, cgroups[: len(batch)])
    encoder = LogEncoder(_RESOURCES, HOST)
    ours = ExportLogsServiceRequest.FromString(encoder.encode(encoder.in_order(batch)))
    assert in_order(ours) == in_order(encoded_by_the_sdk(batch, _RESOURCE, host=HOST))


class _Receiver:
    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []

    def send(self, body: Body, timeout: float) -> Reply:
        self.requests.append(ExportMetricsServiceRequest.FromString(bytes(body)))
        return Success()

    def close(self) -> None:
        pass


def test_the_metrics_have_one_series_for_all_entities_and_nothing_of_the_tracer() -> None:
    receiver, sinks, deadline = _Receiver(), Sinks(), Deadline(60)
    stats = Stats({"submitted": 8}, seen=8)
    opening = Opening(counters(lambda: stats, Ledger()), deadline, HOST, Ledger(), SelfTelemetry(), ScanRequests())
    OtlpSinks(_RESOURCES, {}).add_metrics(Target("otlp", "otlp_http", receiver, "there"), opening, sinks)
    [reader] = sinks.inline
    reader.add(spread(sessions(8), range(8)))
    deadline.set()
    reader.shutdown(deadline)
    [resource_metrics] = receiver.requests[-1].resource_metrics
    assert {each.key for each in resource_metrics.resource.attributes} == {*_RESOURCE.attributes}
    assert resource_metrics.schema_url == _RESOURCE.schema_url
    metrics = {metric.name: metric for metric in resource_metrics.scope_metrics[0].metrics}
    [point] = metrics["tcplife.session.duration"].histogram.data_points
    assert point.count == 8
    assert not [name for name in metrics if not name.startswith("tcplife.")]
