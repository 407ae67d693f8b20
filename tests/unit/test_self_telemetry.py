"""What the command says of itself is what it did."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.otlp_receiver import PROTOBUF, Answer, HttpReceiver, Request, partial_success
from tests.support.received import Received, ReceivedPoint, last_points, read_requests

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept", "home")


class Rejecting(HttpReceiver):
    """Does not take the first two requests of logs, and rejects one of the records of the third one."""

    logs = 0

    def answer_to(self, request: Request) -> Answer:
        if request.signal == "metrics":
            return Answer(200, PROTOBUF)
        self.logs += 1
        return Answer(503) if self.logs < 3 else Answer(200, PROTOBUF, partial_success(int(self.logs == 3)))


def _recorded(count: int) -> None:
    header, row = Path("recording.csv").read_text().splitlines()
    Path("recording.csv").write_text("\n".join([header, *[row] * count]) + "\n")


def _received(receiver: HttpReceiver) -> Received:
    return read_requests(request.as_json() for request in receiver.requests if request.signal == "metrics")


def _values(points: list[ReceivedPoint]) -> dict[tuple[Any, ...], Any]:
    return {
        tuple(value for key, value in sorted(point.attributes.items()) if key != "otel.component.name"): point.value
        for point in points
    }


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_exports_are_counted(temporality: str, replay: Callable[..., tuple[int, str]]) -> None:
    began = time.monotonic()
    _recorded(2500)
    with Rejecting() as receiver:
        code, _ = replay(
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
            OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=temporality,
            OTEL_METRIC_EXPORT_INTERVAL="3600000",
        )
    assert code == 0
    points = _received(receiver).points
    log, http = "otlp_http_log_exporter", "otlp_http_metric_exporter"

    def values(name: str) -> dict[tuple[Any, ...], Any]:
        return _values(last_points(points, name))

    assert values("otel.sdk.exporter.log.exported") == {(log,): 2499, ("rejected", log): 1}
    assert values("otel.sdk.exporter.log.inflight") == {(log,): 0}
    assert values("tcplife.export.retries") == {(log,): 2, (http,): 0}
    assert values("otel.sdk.exporter.metric_data_point.exported") == {(http,): 0, ("rejected", http): 0}
    assert values("otel.sdk.processor.log.queue.size") == {("batching_log_processor",): 0}
    assert values("otel.sdk.processor.log.queue.capacity") == {("batching_log_processor",): 65536}
    [duration] = [
        point
        for point in last_points(points, "otel.sdk.exporter.operation.duration")
        if point.attributes["otel.component.type"] == log
    ]
    # Of all sessions, which are one batch in several requests, from the first sending, two of which failed
    assert (duration.count, sum(duration.bucket_counts), duration.min) == (1, 1, None)
    assert 1 <= (duration.sum or 0) <= time.monotonic() - began
    cpu = values("process.cpu.time")
    assert set(cpu) == {("user",), ("system",)}
    assert cpu[("user",)] > 0
    [memory] = values("process.memory.usage").values()
    assert memory > 1 << 20
    assert not [point for point in points if point.name.startswith("tcplife.spool.")]


def test_the_spool_is_measured(tmp_path: Path, replay: Callable[..., tuple[int, str]], refusing: str) -> None:
    _recorded(2500)
    with HttpReceiver() as receiver:
        code, _ = replay(
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
            OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"http://{refusing}/v1/logs",
            OTEL_METRIC_EXPORT_INTERVAL="3600000",
            OTEL_PYTHON_TCPLIFE_SPOOL=str(tmp_path / "spool"),
        )
    assert code == 0
    points = _received(receiver).points
    [size] = last_points(points, "tcplife.spool.size")
    [age] = last_points(points, "tcplife.spool.age")
    assert (size.unit, age.unit) == ("By", "s")
    assert 0 < (size.value or 0) <= (tmp_path / "spool" / "spool.db").stat().st_size
    assert 0 < (age.value or 0) < 3600
    records = {
        (point.attributes["tcplife.exporter"], point.attributes["tcplife.outcome"]): point.value
        for point in last_points(points, "tcplife.export.records")
    }
    assert records == {("otlp", "spooled"): 2500}
