"""Telemetry of every kind that a collector may get, sent by the SDK, and what has to come of it."""

from __future__ import annotations

import dataclasses
import math
import time

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from tests.support.collector import Collector
from tests.support.own_collector import OwnCollector
from tests.support.received import ReceivedLog, ReceivedPoint
from tests.support.rotel import Rotel

_RESOURCE = {"service.name": "sender", "process.command_args": ["sender", "--fast"]}
LOG = ReceivedLog(
    event_name="thing.happened",
    time_unix_nano=1_700_000_000_123_456_789,
    observed_time_unix_nano=1_700_000_001_000_000_000,
    severity_number=13,
    severity_text="WARN",
    body="it happened",
    attributes={"text": "täxt", "int": 2**40, "float": 0.25, "bool": False},
    resource={"service.name": "sender", "process.command_args": ["sender", "--fast"]},
    scope_name="scope",
    scope_version="1.2",
)

_NO_POINT = ReceivedPoint(
    name="",
    unit="",
    description="",
    kind="gauge",
    temporality=0,
    monotonic=None,
    attributes={},
    start_time_unix_nano=0,
    time_unix_nano=0,
    value=None,
    count=None,
    sum=None,
    min=None,
    max=None,
    bucket_counts=[],
    explicit_bounds=[],
    scale=None,
    zero_count=None,
    bucket_offset=None,
    resource=LOG.resource,
    scope_name="scope",
    scope_version="1.2",
)
_SUM = dataclasses.replace(_NO_POINT, kind="sum", temporality=2)

_POINTS = {
    "duration": dataclasses.replace(
        _NO_POINT,
        name="duration",
        unit="s",
        description="How long.",
        kind="histogram",
        temporality=2,
        attributes={"kind": "a"},
        count=3,
        sum=6.0,
        min=0.5,
        max=3.0,
        bucket_counts=[1, 1, 1],
        explicit_bounds=[1.0, 2.5],
    ),
    "size": dataclasses.replace(
        _NO_POINT,
        name="size",
        unit="By",
        kind="exponential_histogram",
        temporality=2,
        count=5,
        sum=43.0,
        min=0.0,
        max=24.0,
        scale=0,
        zero_count=1,
        bucket_offset=1,
        bucket_counts=[2, 0, 1, 1],
    ),
    "events": dataclasses.replace(_SUM, name="events", unit="{event}", monotonic=True, value=7),
    "active": dataclasses.replace(_SUM, name="active", unit="{session}", monotonic=False, value=-2),
    "level": dataclasses.replace(_NO_POINT, name="level", value=0.5),
}


def send(collector: Collector | Rotel | OwnCollector, protocol: str) -> None:
    """Sends one log record and a metric of each kind with the SDK's own exporters."""
    if protocol == "grpc":
        _send_log(GrpcLogExporter(collector.grpc_endpoint))
        _send_metrics(GrpcMetricExporter(collector.grpc_endpoint))
    else:
        _send_log(HttpLogExporter(f"{collector.http_endpoint}/v1/logs"))
        _send_metrics(HttpMetricExporter(f"{collector.http_endpoint}/v1/metrics"))


def _send_log(exporter: GrpcLogExporter | HttpLogExporter) -> None:
    loggers = LoggerProvider(Resource(_RESOURCE), shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    loggers.get_logger("scope", "1.2").emit(
        LogRecord(
            timestamp=LOG.time_unix_nano,
            observed_timestamp=LOG.observed_time_unix_nano,
            severity_number=SeverityNumber.WARN,
            severity_text=LOG.severity_text,
            body=LOG.body,
            attributes=LOG.attributes,
            event_name=LOG.event_name,
        )
    )
    loggers.shutdown()


def _send_metrics(exporter: GrpcMetricExporter | HttpMetricExporter) -> None:
    # With no interval there is only the one export that is asked for.
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    exponential = View(
        instrument_type=Histogram,
        instrument_name="size",
        aggregation=ExponentialBucketHistogramAggregation(max_scale=0),
    )
    meters = MeterProvider([reader], Resource(_RESOURCE), shutdown_on_exit=False, views=[exponential])
    meter = meters.get_meter("scope", "1.2")
    attributes = {"kind": "a"}
    duration = meter.create_histogram("duration", "s", "How long.", explicit_bucket_boundaries_advisory=[1.0, 2.5])
    for seconds in (0.5, 2.5, 3.0):
        duration.record(seconds, attributes)
    size = meter.create_histogram("size", "By")
    for octets in (0, 3, 4, 12, 24):
        size.record(octets)
    meter.create_counter("events", "{event}").add(7)
    meter.create_up_down_counter("active", "{session}").add(-2)
    meter.create_gauge("level").set(0.5)
    meters.force_flush()
    meters.shutdown()


def check(collector: Collector | Rotel | OwnCollector) -> None:
    """Asserts that the stopped collector got what _send sends, once, field by field."""
    assert collector.logs() == [LOG]

    points = {point.name: point for point in collector.metrics()}
    assert len(points) == len(collector.metrics())
    now = time.time_ns()
    for point in points.values():
        assert now - 60 * 10**9 < point.time_unix_nano < now
        assert point.kind == "gauge" or now - 60 * 10**9 < point.start_time_unix_nano < point.time_unix_nano
    timeless = {
        name: dataclasses.replace(point, start_time_unix_nano=0, time_unix_nano=0) for name, point in points.items()
    }
    assert timeless == _POINTS
