"""The command as an application of OpenTelemetry's agent: it traces the host, and the agent exports."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from otel_tcplife.conventions import SCOPE
from tests.support.host_agent import HostAgent
from tests.support.otlp_receiver import FileReceiver
from tests.support.received import last_points, read_otlp_json_lines
from tests.support.traffic import Traffic

INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))


@pytest.mark.parametrize("scope", ["process", "host"])
def test_it_traces_once_and_the_agent_exports(scope: str, tmp_path: Path) -> None:
    received, written = tmp_path / "received", tmp_path / "written"
    received.mkdir()
    traffic = Traffic()
    with FileReceiver(received) as receiver:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_SERVICE_NAME": "tcplife-of-the-host",
            "OTEL_PYTHON_TCPLIFE_SCOPE": scope,
            # Of a host there may be more at once than the SDK's queue has room for, which drops them and says nothing
            "OTEL_BLRP_MAX_QUEUE_SIZE": "1000000",
        }
        with HostAgent(["--otlp-file", str(written)], environment, run=[INSTRUMENT]) as agent:
            made = traffic.sessions(5)
            assert agent.stop() == 0
    assert agent.said[0] == (
        "otel-tcplife: tracing; logs and metrics to the OpenTelemetry agent of this process, "
        f"OTLP JSON Lines to {written}"
    )
    for directory in (received, written):
        logs = read_otlp_json_lines(directory / "logs.jsonl").logs
        mine = traffic.of(logs)
        assert len(mine) == made
        assert {log.attributes["process.pid"] for log in mine} == {os.getpid()}
        assert {log.scope_name for log in mine} == {SCOPE}
        points = read_otlp_json_lines(directory / "metrics.jsonl").points
        assert sum(point.count or 0 for point in last_points(points, "tcplife.session.duration")) >= made
    for log in read_otlp_json_lines(received / "logs.jsonl").logs:
        assert log.resource["service.name"] == "tcplife-of-the-host"
    assert sum(str(traffic.port) in (row[3], row[5]) and row[0] == str(os.getpid()) for row in agent.rows()) == made
    exported = [line for line in agent.said if ": providers: " in line or ": file: " in line]
    assert {line.split(": ")[2] for line in exported} == {exported[0].split(": ")[2]}
    assert len(agent.said) == 4
