"""Bytes that float64 would round, or 32 bits cut, are exact on each way out; what OTLP cannot hold is absent."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.otlp.files import OtlpFiles
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.resource import Resources
from otel_tcplife.export.sdk.emit import log_records
from otel_tcplife.export.sdk.record import ProviderMetrics
from otel_tcplife.pipeline.counters import counters
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.session import UNKNOWN_BYTES, SessionBatch
from otel_tcplife.table import Table, TableOptions
from tests.support.exporters import file_log_exporter
from tests.support.received import read_otlp_json_lines
from tests.support.sessions import sessions

_SENT = [(1 << 32) + 1, 1 << 40, (1 << 53) + 1, (1 << 62) - 1, 1 << 62, (1 << 63) - 1]
_RECEIVED = [(1 << 40) - 1, (1 << 32) - 1, (1 << 62) + 1, (1 << 53) - 1, (1 << 60) + 1, 7]


@pytest.fixture
def large() -> SessionBatch:
    """A session for each of the numbers."""
    batch = sessions(len(_SENT))
    batch["bytes_sent"], batch["bytes_received"] = _SENT, _RECEIVED
    return batch


def _body(row: int) -> str:
    return f", {_SENT[row]} bytes sent, {_RECEIVED[row]} bytes received"


def test_in_log_records(large: SessionBatch) -> None:
    request = ExportLogsServiceRequest.FromString(LogEncoder(Resources(Resource({}))).encode(large))
    records = request.resource_logs[0].scope_logs[0].log_records
    for name, numbers in (("tcplife.bytes.sent", _SENT), ("tcplife.bytes.received", _RECEIVED)):
        values = [attribute.value for record in records for attribute in record.attributes if attribute.key == name]
        assert [(value.WhichOneof("value"), value.int_value) for value in values] == [("int_value", n) for n in numbers]
    for row, record in enumerate(records):
        assert record.body.string_value.endswith(_body(row))


def test_in_files(large: SessionBatch, tmp_path: Path) -> None:
    file_log_exporter(OtlpFiles(str(tmp_path))).export(large)
    logs = read_otlp_json_lines(tmp_path / "logs.jsonl").logs
    assert [log.attributes["tcplife.bytes.sent"] for log in logs] == _SENT
    assert [log.attributes["tcplife.bytes.received"] for log in logs] == _RECEIVED


def test_through_a_logger_provider(large: SessionBatch) -> None:
    for row, record in enumerate(log_records(large)):
        assert record.attributes
        assert record.attributes["tcplife.bytes.sent"] == _SENT[row]
        assert record.attributes["tcplife.bytes.received"] == _RECEIVED[row]
        assert str(record.body).endswith(_body(row))


def test_in_the_table(large: SessionBatch) -> None:
    written: list[str] = []
    Table(TableOptions(csv=True), written.append).rows(large)
    rows = [line.split(",") for line in "".join(written).splitlines()]
    assert [(int(row[-3]), int(row[-2])) for row in rows] == [(s // 1024, r // 1024) for s, r in zip(_SENT, _RECEIVED)]


Point = TypeVar("Point", bound=HistogramDataPoint | ExponentialHistogramDataPoint)


def _io(data: MetricsData | None, kind: type[Point]) -> dict[str, Point]:
    """The points of tcplife.session.io by direction."""
    assert data
    [metric] = [
        metric for metric in data.resource_metrics[0].scope_metrics[0].metrics if metric.name == "tcplife.session.io"
    ]
    points = [point for point in metric.data.data_points if isinstance(point, kind)]
    return {str((point.attributes or {})["network.io.direction"]): point for point in points}


def _has(points: dict[str, HistogramDataPoint], sent: list[int], received: list[int]) -> None:
    for direction, numbers in (("transmit", sent), ("receive", received)):
        point = points[direction]
        assert (point.count, point.sum) == (len(numbers), sum(numbers))
        assert (point.min, point.max) == (min(numbers), max(numbers))
        assert point.bucket_counts[-1] == sum(number > 1 << 32 for number in numbers)


def test_in_histograms(large: SessionBatch) -> None:
    """One collection after the other, and as they stand at once."""
    aggregator = Aggregator(Resources(Resource({})), Preference(), {})
    for end in range(1, len(large) + 1):
        aggregator.add(large[end - 1 : end])
        _has(_io(aggregator.collect(), HistogramDataPoint), _SENT[:end], _RECEIVED[:end])


def test_in_histograms_of_a_meter_provider(large: SessionBatch) -> None:
    reader = InMemoryMetricReader()
    ProviderMetrics(MeterProvider([reader], shutdown_on_exit=False)).add(large)
    _has(_io(reader.get_metrics_data(), HistogramDataPoint), _SENT, _RECEIVED)


def test_the_sum_of_sessions_that_are_counted_together(large: SessionBatch) -> None:
    """It can need more than 64 bits."""
    aggregator = Aggregator(Resources(Resource({})), Preference(), {})
    aggregator.add(np.concatenate([large] * 50))
    _has(_io(aggregator.collect(), HistogramDataPoint), _SENT * 50, _RECEIVED * 50)


# What OTLP's integers cannot hold

_BEYOND = [1 << 63, (1 << 63) + 1024, (1 << 64) - 2, UNKNOWN_BYTES]


@pytest.fixture
def beyond() -> SessionBatch:
    """Of each number: a session with it as both sizes, as the one and as the other; last a session without any."""
    batch = sessions(3 * len(_BEYOND) + 1)
    for row, number in enumerate(_BEYOND):
        batch["bytes_sent"][3 * row : 3 * row + 3] = number, number, 83
        batch["bytes_received"][3 * row : 3 * row + 3] = number, 35352, number
    batch["bytes_sent"][-1], batch["bytes_received"][-1] = (1 << 63) - 1, 0
    return batch


_KNOWN = [{}, {"tcplife.bytes.received": 35352}, {"tcplife.bytes.sent": 83}] * len(_BEYOND) + [
    {"tcplife.bytes.sent": (1 << 63) - 1, "tcplife.bytes.received": 0}
]
_SAID = ["", ", 35352 bytes received", ", 83 bytes sent"] * len(_BEYOND) + [
    ", 9223372036854775807 bytes sent, 0 bytes received"
]


def test_absent_in_log_records(beyond: SessionBatch) -> None:
    request = ExportLogsServiceRequest.FromString(LogEncoder(Resources(Resource({}))).encode(beyond))
    records = request.resource_logs[0].scope_logs[0].log_records
    sizes = [
        {each.key: each.value.int_value for each in record.attributes if each.key.startswith("tcplife.bytes.")}
        for record in records
    ]
    assert sizes == _KNOWN
    assert [record.body.string_value.partition(" ms")[2] for record in records] == _SAID


def test_absent_through_a_logger_provider(beyond: SessionBatch) -> None:
    records = list(log_records(beyond))
    sizes = [
        {key: value for key, value in (record.attributes or {}).items() if key.startswith("tcplife.bytes.")}
        for record in records
    ]
    assert sizes == _KNOWN
    assert [str(record.body).partition(" ms")[2] for record in records] == _SAID


@pytest.mark.parametrize("exponential", [False, True])
def test_absent_in_histograms(beyond: SessionBatch, exponential: bool) -> None:
    aggregator = Aggregator(Resources(Resource({})), Preference(exponential=exponential), {})
    aggregator.add(beyond)
    data = aggregator.collect()
    points = _io(data, ExponentialHistogramDataPoint) if exponential else _io(data, HistogramDataPoint)
    sent, received = points["transmit"], points["receive"]
    known = len(_BEYOND)
    assert (sent.count, sent.sum, sent.max) == (known + 1, 83 * known + (1 << 63) - 1, (1 << 63) - 1)
    assert (received.count, received.sum, received.max) == (known + 1, 35352 * known, 35352)


def test_absent_in_histograms_of_a_meter_provider(beyond: SessionBatch) -> None:
    reader = InMemoryMetricReader()
    ProviderMetrics(MeterProvider([reader], shutdown_on_exit=False)).add(beyond)
    points = _io(reader.get_metrics_data(), HistogramDataPoint)
    assert [points[way].count for way in ("transmit", "receive")] == [len(_BEYOND) + 1] * 2


def test_histograms_of_unknown_sizes_alone_have_no_point() -> None:
    batch = sessions(2)
    batch["bytes_sent"] = batch["bytes_received"] = UNKNOWN_BYTES
    aggregator = Aggregator(Resources(Resource({})), Preference(), {})
    aggregator.add(batch)
    names = [metric.name for metric in aggregator.collect().resource_metrics[0].scope_metrics[0].metrics]
    assert names == ["tcplife.session.duration"]


def test_absent_in_counters() -> None:
    totals = counters(
        lambda: Stats({"submitted": 1 << 63, "filtered": (1 << 63) - 1}, seen=0, active=1 << 64), Ledger()
    )
    values = {counter.name: list(read()) for counter, read in totals.items()}
    assert values["tcplife.probe.sessions"] == [({"tcplife.outcome": "filtered"}, (1 << 63) - 1)]
    assert values["tcplife.session.active"] == []
