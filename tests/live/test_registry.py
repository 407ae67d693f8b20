"""What the host agent sends is what docs/registry/ declares."""

from __future__ import annotations

import errno
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.registry import contract
from tests.support.background_process import refusing_port
from tests.support.host_agent import HostAgent
from tests.support.received import read_otlp_json_lines
from tests.support.registered import Registry
from tests.support.traffic import Traffic
from tests.support.weaver import WEAVER, LiveCheck, registry_with_its_dependency

_ALL = {
    "OTEL_PYTHON_TCPLIFE_INTERIM": "0.2",
    "OTEL_PYTHON_TCPLIFE_EVENT_NAME_ATTRIBUTE": "true",
    "OTEL_PYTHON_TCPLIFE_COMMUNITY_ID": "true",
    "OTEL_PYTHON_TCPLIFE_LOG_SAMPLE": "0.9999999",  # whatever is waited for is kept
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
}
"""So that records have all that can be chosen."""
_OF_EACH = {
    "tcplife.session.closed": {"tcplife.close.reason", "tcplife.sampling.ratio", "network.community_id"},
    "tcplife.session.progress": {"tcplife.session.id", "tcplife.session.duration", "otel.event.name"},
    "tcplife.connect.failed": {"error.type", "process.pid"},
}
_NOT_HERE = {"tcplife.spool.size", "tcplife.spool.age", "tcplife.retransmits"}
"""Metrics of what is not there in these tests, or may not be."""


def _requests(directory: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for path in sorted(directory.glob("*.jsonl")) for line in path.read_text().splitlines()]


def _make_sessions(traffic: Traffic, directory: Path) -> None:
    """Sessions of each event."""
    with refusing_port() as port, socket.socket() as refused:
        assert refused.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    traffic.sessions(1)
    client, server = traffic.open()
    with client, server:
        client.sendall(b"x" * 1000)
        server.sendall(b"x")
        path = directory / "logs.jsonl"
        while not (path.exists() and _reports(traffic, path)):
            time.sleep(0.05)


def _reports(traffic: Traffic, path: Path) -> bool:
    logs = traffic.of(read_otlp_json_lines(path, growing=True).logs)
    return any(log.event_name == "tcplife.session.progress" for log in logs)


def test_all_that_the_host_agent_sends_is_in_the_registry(traffic: Traffic, tmp_path: Path) -> None:
    with HostAgent(["--no-table", "--otlp-file", str(tmp_path)], _ALL):
        _make_sessions(traffic, tmp_path)
    registry = Registry()
    assert {line for request in _requests(tmp_path) for line in registry.differences(request)} == set()
    logs = read_otlp_json_lines(tmp_path / "logs.jsonl").logs
    for event, names in _OF_EACH.items():
        assert names <= {name for log in logs if log.event_name == event for name in log.attributes}
    sent = {point.name for point in read_otlp_json_lines(tmp_path / "metrics.jsonl").points}
    assert {metric.name for metric in contract().metrics} - _NOT_HERE <= sent


@pytest.mark.skipif(WEAVER is None, reason="weaver is not installed")
@pytest.mark.parametrize("undeclared", ["", "tcplife.close.reason", "tcplife.outcome"])
def test_weaver_finds_what_is_not_in_the_registry(undeclared: str, traffic: Traffic, tmp_path: Path) -> None:
    registry = registry_with_its_dependency(tmp_path)
    if undeclared:
        for path in registry.glob("*.yaml"):
            path.write_text(path.read_text().replace(f": {undeclared}\n", ": tcplife.other\n"))
    with LiveCheck(registry) as live_check:
        sent = {"OTEL_EXPORTER_OTLP_ENDPOINT": live_check.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        with HostAgent(["--no-table", "--otlp-file", str(tmp_path)], {**_ALL, **sent}):
            _make_sessions(traffic, tmp_path)
        code, report = live_check.stop()
    statistics = report["statistics"]
    assert (code != 0) == bool(undeclared)
    assert {*statistics["seen_non_registry_attributes"]} == {undeclared} - {""}
    seen = {name for name, count in statistics["seen_registry_events"].items() if count}
    assert seen == {*_OF_EACH}
