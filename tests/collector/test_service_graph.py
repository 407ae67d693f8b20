"""service-graph.yaml counts each session and each failed connect of a client once, on its edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collector.conftest import host_through
from tests.collector.scraped import scraped
from tests.support.background_process import free_ports
from tests.support.collector import SERVICE_GRAPH_CONFIG
from tests.support.elsewhere import ADDRESS, CLOSED_PORT, PORT, Elsewhere

_LABELS = ("client", "server", "connection_type")


@pytest.mark.usefixtures("binary")
def test_its_counts_are_exact(elsewhere: Elsewhere, tmp_path: Path) -> None:
    [port] = free_ports(1)
    environ = {"OTEL_TCPLIFE_COLLECTOR_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"}
    with host_through(SERVICE_GRAPH_CONFIG, tmp_path, environ) as through:
        made, refused = len(elsewhere.sessions(40)), len(elsewhere.refused(15))
        made += len(elsewhere.sessions(20))  # in another batch, which is added to the first one
        through.finish()
        requests, failed = (
            scraped(port, f"traces_service_graph_request_{each}total", *_LABELS) for each in ("", "failed_")
        )
    mine = (elsewhere.client.executable, f"{ADDRESS}:{PORT}", "virtual_node")
    nobody = (elsewhere.client.executable, f"{ADDRESS}:{CLOSED_PORT}", "virtual_node")
    assert (requests[mine], requests[nobody]) == (made, refused)
    assert failed[nobody] == refused
    assert mine not in failed
