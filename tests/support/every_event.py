"""Sessions of each event, with all attributes that can be chosen."""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path

from tests.support.background_process import refusing_port
from tests.support.received import read_otlp_json_lines
from tests.support.traffic import Traffic

ALL_OPTIONS = {
    "OTEL_PYTHON_TCPLIFE_INTERIM": "0.2",
    "OTEL_PYTHON_TCPLIFE_EVENT_NAME_ATTRIBUTE": "true",
    "OTEL_PYTHON_TCPLIFE_COMMUNITY_ID": "true",
    "OTEL_PYTHON_TCPLIFE_LOG_SAMPLE": "0.9999999",  # whatever is waited for is kept
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
}
"""So that records have all that can be chosen."""
OF_EACH_EVENT = {
    "tcplife.session.closed": {"tcplife.close.reason", "tcplife.sampling.ratio", "network.community_id"},
    "tcplife.session.progress": {"tcplife.session.id", "tcplife.session.duration", "otel.event.name"},
    "tcplife.connect.failed": {"error.type", "process.pid"},
}


def make_sessions(traffic: Traffic, directory: Path) -> None:
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
