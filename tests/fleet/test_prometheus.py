"""Prometheus that takes OTLP answers the questions of docs/backends.md, shows the dashboard, and alerts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.backends.alerts import ALERTS
from tests.backends.documented import documented
from tests.backends.grafana import panels, queries
from tests.backends.questions import Made, check_answers
from tests.backends.varied import overflow, varied_sessions
from tests.support.elsewhere import network_elsewhere
from tests.support.host_agent import HostAgent
from tests.support.otlp_receiver import Answer, FileReceiver, HttpReceiver
from tests.support.patience import eventually
from tests.support.place import cgroup, move
from tests.support.prometheus import ANCHORED, DELTAS, START_TIMES, Prometheus, prometheus
from tests.support.promql import PromqlStore
from tests.support.received import read_otlp_json_lines

_OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
_LOGS = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    binary = prometheus("promtool")
    assert binary
    return subprocess.run([binary, *arguments], check=False, capture_output=True, text=True)


def test_the_rules_are_right() -> None:
    checked = _promtool("check", "rules", ALERTS)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_rules_do_what_they_are_to_do() -> None:
    tested = _promtool("test", "rules", Path(__file__).with_name("alerts_test.yaml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_the_four_questions(temporality: str, tmp_path: Path) -> None:
    """Anchored, as increase() without it says what there might have been by the ends of the hour."""
    logs = tmp_path / "logs"
    logs.mkdir()
    with (
        network_elsewhere() as elsewhere,
        FileReceiver(logs) as receiver,
        Prometheus(tmp_path / "prometheus", START_TIMES, ANCHORED, DELTAS) as prometheus,
    ):
        made, store = Made(elsewhere), prometheus.store
        env = {**_OFTEN, **prometheus.environ, _LOGS: f"{receiver.endpoint}/v1/logs"}
        with HostAgent(
            ["--no-table"], {**env, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality}
        ) as agent:
            made.more(20, 5)
            eventually(lambda: _of_port(store, made.port))
            made.more(10, 3)
        durations = [
            float(log.attributes["tcplife.session.duration"])
            for log in read_otlp_json_lines(logs / "logs.jsonl").logs
            if log.attributes.get("tcplife.netns") == elsewhere.inode and made.port in log.ports
        ]
        anchored = [query.replace("[1h]", "[1h] anchored") for query in documented("promql")]
        check_answers(store, anchored, made, agent, durations)


def _of_port(store: PromqlStore, port: int) -> object:
    return store.query(f'tcplife_session_duration_seconds_count{{server_port="{port}"}}')


def test_a_series_begins_at_zero_when_it_is_new(tmp_path: Path) -> None:
    """And not when the agent began, which is before any range that a query looks at."""
    exports = 'count_over_time(tcplife_probe_sessions_total{tcplife_outcome="submitted"}[1h])'
    with network_elsewhere() as elsewhere, Prometheus(tmp_path / "prometheus", START_TIMES) as prometheus:
        made, store = Made(elsewhere), prometheus.store
        with HostAgent(["--no-table"], {**_OFTEN, **prometheus.environ}):
            eventually(lambda: any(sample.value > 4 for sample in store.query(exports)))
            made.more(20, 0)
        [began] = store.values('tcplife_probe_sessions_total{tcplife_outcome="submitted"}[1h]')
        series = store.values(f'tcplife_session_duration_seconds_count{{server_port="{made.port}"}}[1h]')
    assert len(series) == 2  # both ends
    for values in series:
        (zero_at, zero), (_, first) = values[:2]
        assert (zero, first > 0) == (0, True)
        assert zero_at >= began[4][0]


def test_exponential_histograms_are_native(tmp_path: Path) -> None:
    exponential = {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"}
    with network_elsewhere() as elsewhere, Prometheus(tmp_path / "prometheus", START_TIMES) as prometheus:
        made, store = Made(elsewhere), prometheus.store
        with HostAgent(["--no-table"], {**_OFTEN, **prometheus.environ, **exponential}):
            made.more(30, 0)
        mine = f'tcplife_session_duration_seconds{{server_port="{made.port}"}}'
        assert store.sums(f"sum(histogram_count({mine}))") == {(): 2 * made.sessions}
        [p99] = store.query(f"histogram_quantile(0.99, sum(increase({mine}[1h])))")
        assert p99.value > 0


def test_a_container_is_told_by_its_labels(tmp_path: Path) -> None:
    """It has no job and no instance, as our service is not the container's."""
    pod, container = "8a1f6d8e-6c7e-4f5c-9d0d-d3a2e5b8c111", "c" * 64
    with (
        cgroup(f"kubepods/pod{pod}/{container}") as place,
        network_elsewhere() as elsewhere,
        Prometheus(tmp_path / "prometheus") as prometheus,
    ):
        made = Made(elsewhere)
        move(elsewhere.client.pid, place)
        with HostAgent(["--no-table"], {**_OFTEN, **prometheus.environ}):
            made.more(3, 0)
        [client, server] = prometheus.store.query(
            f'sort_desc(tcplife_io_bytes_total{{server_port="{made.port}", network_io_direction="transmit"}})'
        )
    assert (client.labels["container_id"], client.labels["k8s_pod_uid"]) == (container, pod)
    assert not {"job", "instance"} & client.labels.keys()
    assert client.labels["host_name"] == server.labels["host_name"]
    assert server.labels["job"] == "otel-tcplife"


def test_every_query_of_the_dashboard_has_an_answer(tmp_path: Path) -> None:
    with (
        network_elsewhere() as elsewhere,
        HttpReceiver() as receiver,
        Prometheus(tmp_path / "prometheus", START_TIMES) as prometheus,
    ):
        env = {
            **_OFTEN,
            **prometheus.environ,
            _LOGS: f"{receiver.endpoint}/v1/logs",
            "OTEL_PYTHON_TCPLIFE_SPOOL": str(tmp_path / "spool"),
        }
        store = prometheus.store
        with HostAgent(["--no-table"], env), varied_sessions(elsewhere) as ports:
            overflow(elsewhere, ports)
            eventually(lambda: store.query('tcplife_export_records_total{tcplife_outcome="exported"} > 2000'))
            eventually(lambda: store.query(f'tcplife_session_active{{server_port="{ports.open}"}} > 0'))
            for panel in panels():
                for query in queries(panel, "increase"):
                    assert store.query(query), query


def test_alerts_fire(tmp_path: Path) -> None:
    with (
        network_elsewhere() as elsewhere,
        HttpReceiver() as receiver,
        Prometheus(tmp_path / "prometheus", START_TIMES, rules=[ALERTS]) as prometheus,
    ):
        store = prometheus.store
        env = {**_OFTEN, **prometheus.environ, _LOGS: f"{receiver.endpoint}/v1/logs"}
        with HostAgent(["--no-table"], env):
            elsewhere.sessions(10)
            eventually(lambda: store.query("ALERTS or tcplife_export_records_total"))
            assert "TcplifeRecordsLost" not in store.firing()
            receiver.answer = Answer(400)
            elsewhere.sessions(10)
            elsewhere.refused(50)
            eventually(lambda: {"TcplifeRecordsLost", "TcplifeConnectsFail"} <= store.firing())
