"""agent.yaml delivers all that it has taken, each record once, though it is killed while its upstream is away."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.background_process import free_ports
from tests.support.collector import Collector
from tests.support.host_agent import HostAgent
from tests.support.otlp_receiver import FileReceiver
from tests.support.patience import eventually
from tests.support.received import ReceivedLog, read_otlp_json_lines
from tests.support.traffic import Traffic


def _logs(directory: Path, traffic: Traffic) -> list[ReceivedLog]:
    return traffic.of(read_otlp_json_lines(directory / "logs.jsonl", growing=True).logs)


@pytest.mark.usefixtures("binary")
def test_what_waits_for_the_upstream_outlives_kill_9(tmp_path: Path) -> None:
    upstream, directory = tmp_path / "upstream", tmp_path / "collector"
    upstream.mkdir()
    [nobody] = free_ports(1)
    traffic = Traffic()
    environ = {"OTEL_TCPLIFE_COLLECTOR_UPSTREAM_ENDPOINT": f"http://127.0.0.1:{nobody}"}
    with Collector(directory, env=environ) as collector:
        with HostAgent(["--no-table"], {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http_endpoint}):
            made = traffic.sessions(500)
        collector.kill()
    with FileReceiver(upstream) as receiver:
        environ = {"OTEL_TCPLIFE_COLLECTOR_UPSTREAM_ENDPOINT": receiver.endpoint}
        with Collector(directory, env=environ):
            eventually(lambda: len(_logs(upstream, traffic)) >= made)
    logs = _logs(upstream, traffic)
    traffic.close()
    assert len(logs) == made
    assert {*Counter(log.ports for log in logs).values()} == {1}
