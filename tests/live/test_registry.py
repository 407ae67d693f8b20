"""What the host agent sends is what docs/registry/ declares."""

from __future__ import annotations

import errno
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.registry import contract
from tests.support.background_process import refusing_port
from tests.support.host_agent import HostAgent
from tests.support.received import read_otlp_json_lines
from tests.support.registered import Registry
from tests.support.traffic import Traffic

_ALL = {
    "OTEL_PYTHON_TCPLIFE_INTERIM": "0.2",
    "OTEL_PYTHON_TCPLIFE_EVENT_NAME_ATTRIBUTE": "true",
    "OTEL_PYTHON_TCPLIFE_COMMUNITY_ID": "true",
    "OTEL_PYTHON_TCPLIFE_LOG_SAMPLE": "0.99",
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
    """Sessions of each event; of those that are sampled, so many that some are kept."""
    with refusing_port() as port, socket.socket() as refused:
        assert refused.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    traffic.sessions(20)
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
