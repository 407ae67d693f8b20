"""metrics-from-logs.yaml has the bytes and sessions of each peer, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collector.conftest import host_through
from tests.collector.scraped import scraped
from tests.support.background_process import free_ports
from tests.support.collector import METRICS_FROM_LOGS_CONFIG
from tests.support.elsewhere import ADDRESS, Elsewhere

_LABELS = ("network_peer_address", "process_executable_name", "tcplife_role", "error_type")


@pytest.mark.usefixtures("binary")
def test_its_sums_are_exact(elsewhere: Elsewhere, tmp_path: Path) -> None:
    [port] = free_ports(1)
    environ = {"OTEL_TCPLIFE_COLLECTOR_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"}
    with host_through(METRICS_FROM_LOGS_CONFIG, tmp_path, environ) as through:
        made = len(elsewhere.sessions(20, sent=1000)) + len(elsewhere.sessions(10, sent=1000))
        refused = len(elsewhere.refused(5))
        through.finish()
        sent, received = (scraped(port, f"tcplife_peer_bytes_{way}_total", *_LABELS) for way in ("sent", "received"))
        sessions = scraped(port, "tcplife_peer_sessions_total", *_LABELS)
    client, server = ((ADDRESS, elsewhere.client.executable, role, "") for role in ("client", "server"))
    assert (sent[client], sent[server]) == (made * 1000, 0)
    assert (received[client], received[server]) == (0, made * 1000)
    assert (sessions[client], sessions[server]) == (made, made)
    assert sessions[(*client[:3], "ECONNREFUSED")] == refused
