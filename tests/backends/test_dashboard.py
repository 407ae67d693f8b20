"""Each query of the dashboard has an answer, from VictoriaMetrics behind the real Collector."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.backends.grafana import panels, queries, substituted
from tests.backends.varied import Ports, overflow, varied_sessions
from tests.dashboard import DASHBOARD, dashboard
from tests.support.collector import VICTORIA_CONFIG, Collector, otelcol
from tests.support.elsewhere import Elsewhere
from tests.support.host_agent import COMMAND, HostAgent
from tests.support.patience import eventually
from tests.support.victoria import VictoriaLogs, VictoriaMetrics

_RECORDING = Path(__file__).parents[1] / "unit" / "replay" / "recordings" / "times.csv"
_ZERO_IN_HEALTH = {"Lost", "Queue", "Spool"}
"""Panels that have data, but nothing above zero, where all is well."""


def test_the_file_is_up_to_date() -> None:
    assert DASHBOARD.read_text() == dashboard(), "run `python -m tests.dashboard`"


def test_every_query_has_an_answer(
    elsewhere: Elsewhere, metrics_store: VictoriaMetrics, logs_store: VictoriaLogs, tmp_path: Path
) -> None:
    if otelcol() is None:
        pytest.skip("there is no Go new enough to build the Collector with: collector-config/build says which")
    stores = {
        "OTEL_TCPLIFE_COLLECTOR_VICTORIA_METRICS": metrics_store.url,
        "OTEL_TCPLIFE_COLLECTOR_VICTORIA_LOGS": logs_store.url,
    }
    with Collector(tmp_path / "collector", config=VICTORIA_CONFIG, env=stores) as collector:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http_endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_PYTHON_TCPLIFE_SPOOL": str(tmp_path / "spool"),
        }
        with HostAgent(["--no-table"], env), varied_sessions(elsewhere) as ports:
            refused = 20 + 1 + overflow(elsewhere, ports)
            eventually(lambda: _has_all(metrics_store, ports))
            _check_panels(metrics_store)
        eventually(lambda: _records(logs_store, elsewhere) == 2 * (30 + 1 + 1) + refused)


def _has_all(store: VictoriaMetrics, ports: Ports) -> bool:
    """Whether the store has what has been last, and what goes on."""
    store.flush()
    active = store.store.query(f'tcplife_session_active{{server_port="{ports.open}"}} > 0')
    exported = store.store.query('tcplife_export_records_total{tcplife_outcome="exported"} > 2000')
    overflowed = store.store.query('{__name__=~"tcplife_.*_(count|total)", otel_metric_overflow="true"}')
    return bool(active and exported and overflowed and store.store.query("tcplife_retransmits_total > 0"))


def _check_panels(store: VictoriaMetrics) -> None:
    for panel in panels():
        for query in queries(panel, "increase_pure"):
            values = [sample.value for sample in store.store.query(query)]
            assert values, query
            assert any(value > 0 for value in values) or panel["title"] in _ZERO_IN_HEALTH, query


def _records(store: VictoriaLogs, elsewhere: Elsewhere) -> int:
    store.flush()
    [counted] = store.query(f"tcplife.netns:={elsewhere.inode} | count() n")
    return int(counted["n"])


def test_a_recording_has_neither_programs_nor_ports(metrics_store: VictoriaMetrics) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [COMMAND, "--replay", str(_RECORDING), "--no-table"]
    subprocess.run(command, env={**env, **metrics_store.environ}, check=True, capture_output=True)
    metrics_store.flush()
    by = {panel["title"]: queries(panel, "increase_pure") for panel in panels()}
    labels = {
        "Sessions by process": ("process_executable_name", ""),
        "Sessions by port": ("server_port", ""),
        "Sessions by network of the peer": ("tcplife_peer_network", "loopback"),
    }
    for title, (label, value) in labels.items():
        assert [*metrics_store.store.sums(by[title][0], label)] == [(value,)]
    assert metrics_store.store.query(by["Duration by port"][0])
    assert not metrics_store.store.query(by["Round trip time"][0])


def test_a_variable_that_is_not_known_is_an_error() -> None:
    """So that no query is asked with one."""
    with pytest.raises(KeyError):
        substituted("sum(x[$__interval])", "increase")
