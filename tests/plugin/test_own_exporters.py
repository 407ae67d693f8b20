"""Where the application's providers export, the connections of its exporters are in no record and in no metric.

A receiver that closes each connection would otherwise be told of that by the next one, and so on without end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugin.traced import Receiver, Traced, wait_until
from tests.support.host_scope import UNABLE_TO_SEE_OTHERS
from tests.support.otlp_receiver import PROTOBUF, Answer, GrpcReceiver
from tests.support.received import Received, last_points, read_otlp_json_lines, read_requests

_WITHIN: dict[str, list[str]] = {"process": [], "host": UNABLE_TO_SEE_OTHERS}
"""Others may trace this host meanwhile."""

_PROGRAM = ("-m", "tests.plugin.spans_main")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as receiver:
        receiver.answer = Answer(200, {**PROTOBUF, "Connection": "close"})
        yield receiver


def _often(**environ: str) -> dict[str, str]:
    return {
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        **environ,
    }


def _assert_none_is_of(port: int, made: set[int], received: Received) -> None:
    assert made <= {log.ports[0] for log in received.logs}
    assert not [log.body for log in received.logs if port in log.ports]
    active = last_points(received.points, "tcplife.session.active")
    assert not [point for point in active if point.attributes.get("server.port") == port]


@pytest.mark.parametrize("scope", ["process", "host"])
def test_connections_of_http_exporters_are_left_out(scope: str, receiver: Receiver) -> None:
    environ = _often(OTEL_PYTHON_TCPLIFE_SCOPE=scope)
    with Traced(*_PROGRAM, receiver=receiver, export="providers", environ=environ, within=_WITHIN[scope]) as app:
        app.wait_for("done")
        made = {port for port, *_ in app.all_told("connected")}
        wait_until(lambda: made <= {log.ports[0] for log in receiver.logs()}, lambda: "not all are reported")
        exported = receiver.connections
        wait_until(lambda: receiver.connections > exported + 10, lambda: "nothing is exported any more")
        app.end()
    logs, metrics = (read_otlp_json_lines(receiver.directory / f"{signal}.jsonl") for signal in ("logs", "metrics"))
    _assert_none_is_of(receiver.port, made, Received(logs.logs, metrics.points))


@pytest.mark.parametrize("scope", ["process", "host"])
def test_connections_of_grpc_exporters_are_left_out(scope: str, receiver: Receiver) -> None:
    grpc = GrpcReceiver()
    environ = _often(
        OTEL_PYTHON_TCPLIFE_SCOPE=scope,
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_ENDPOINT=grpc.endpoint.replace("127.0.0.1", "localhost"),
    )
    try:
        with Traced(*_PROGRAM, receiver=receiver, export="providers", environ=environ, within=_WITHIN[scope]) as app:
            app.wait_for("done")
            made = {port for port, *_ in app.all_told("connected")}
            app.end()
    finally:
        grpc.stop()
    _assert_none_is_of(
        int(grpc.address.rpartition(":")[2]), made, read_requests(each.as_json() for each in grpc.requests)
    )
