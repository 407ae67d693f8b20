"""Each alert is about what was provoked for real, and none about a healthy run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from otel_tcplife.instruments import CARDINALITY_LIMIT
from tests.backends.alerts import ALERTS, expressions, pending
from tests.backends.conftest import NO_GO
from tests.backends.documented import counted_by, documented
from tests.backends.questions import Made
from tests.backends.varied import overflow
from tests.support.background_process import free_ports
from tests.support.elsewhere import Elsewhere
from tests.support.host_agent import HostAgent
from tests.support.otlp_receiver import Answer, HttpReceiver
from tests.support.patience import eventually
from tests.support.promql import Sample
from tests.support.traffic import Traffic
from tests.support.victoria import VictoriaMetrics, victoria_metrics

_OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
_LOGS = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"


@pytest.mark.parametrize(("right", "wrong", "status"), [("", "", 0), ("> 300", "> > 300", 255), ("expr:", "exp:", 255)])
def test_vmalert_takes_the_rules(right: str, wrong: str, status: int, tmp_path: Path) -> None:
    """And does not take wrong ones, so that this can fail."""
    binary = victoria_metrics("vmalert")
    if binary is None:
        pytest.skip(NO_GO)
    rules = tmp_path / "alerts.yaml"
    rules.write_text(ALERTS.read_text().replace("increase(", "increase_pure(").replace(right, wrong))
    checked = subprocess.run([binary, "-dryRun", f"-rule={rules}"], check=False, capture_output=True, text=True)
    assert checked.returncode == status, checked.stderr


def _asked(store: VictoriaMetrics) -> dict[str, list[Sample]]:
    store.flush()
    return pending(store.store, "increase_pure")


def _outcomes(samples: list[Sample]) -> dict[str, float]:
    return {sample.labels["tcplife_outcome"]: sample.value for sample in samples}


def _balance(store: VictoriaMetrics) -> list[dict[str, float]]:
    """What became of sessions and of records, by outcome, as docs/backends.md asks for it."""
    asked = [counted_by("increase_pure", query) for query in documented("promql")[3:]]
    return [_outcomes(store.store.query(query)) for query in asked]


def _said(agent: HostAgent, outcome: str) -> int:
    """How many sessions or records had this outcome, as the agent said at its end."""
    balance = [line for line in agent.said if " sessions ended: " in line or ": otlp: " in line]
    return sum(int(count) for line in balance for count in re.findall(rf"(\d+) {outcome}\b", line))


def test_a_healthy_run_alerts_about_nothing(elsewhere: Elsewhere, metrics_store: VictoriaMetrics) -> None:
    made = Made(elsewhere)
    with HttpReceiver() as receiver:
        with HostAgent(
            ["--no-table"], {**_OFTEN, **metrics_store.environ, _LOGS: f"{receiver.endpoint}/v1/logs"}
        ) as agent:
            made.more(100, 9)
        asked = _asked(metrics_store)
    # Others on this host may have connects that fail, and whoever loses something of theirs is right to say so.
    mine = {str(port) for port in made.ports}
    assert not [sample for sample in asked.pop("TcplifeConnectsFail") if sample.labels["server_port"] in mine]
    lost = {outcome: _said(agent, outcome) for outcome in ("ring_full", "map_full", "unclaimed")}
    assert _outcomes(asked.pop("TcplifeSessionsLost")) == {outcome: count for outcome, count in lost.items() if count}
    not_followed = _said(agent, "not_followed") / _said(agent, "sessions ended") > 0.01
    assert bool(asked.pop("TcplifeSessionsNotFollowed")) == not_followed
    if asked.pop("TcplifeMetricOverflow"):
        assert (
            metrics_store.store.query("count(tcplife_handshake_duration_seconds_count)")[0].value >= CARDINALITY_LIMIT
        )
    assert asked == {alert: [] for alert in asked}


def test_connects_that_fail(elsewhere: Elsewhere, metrics_store: VictoriaMetrics) -> None:
    made = Made(elsewhere)
    with HostAgent(["--no-table"], {**_OFTEN, **metrics_store.environ}):
        made.more(100, 10)
    alerts = {sample.labels["server_port"]: sample for sample in _asked(metrics_store)["TcplifeConnectsFail"]}
    assert alerts[str(made.ports[1])].labels["process_executable_name"] == elsewhere.client.executable
    assert str(made.port) not in alerts


def test_records_that_the_receiver_rejects(elsewhere: Elsewhere, metrics_store: VictoriaMetrics) -> None:
    with HttpReceiver() as receiver:
        receiver.answer = Answer(400)
        logs = {_LOGS: f"{receiver.endpoint}/v1/logs"}
        with HostAgent(["--no-table"], {**_OFTEN, **metrics_store.environ, **logs}) as agent:
            elsewhere.sessions(30)
    [alert] = _asked(metrics_store)["TcplifeRecordsLost"]
    assert (alert.labels["tcplife_exporter"], alert.labels["tcplife_outcome"]) == ("otlp", "rejected")
    assert alert.value == _said(agent, "rejected") >= 60
    seen, records = _balance(metrics_store)
    assert seen["submitted"] == sum(records.values())
    assert records["rejected"] == alert.value


def test_sessions_that_the_ring_has_no_room_for(metrics_store: VictoriaMetrics) -> None:
    traffic = Traffic()
    env = {**_OFTEN, **metrics_store.environ, "OTEL_PYTHON_TCPLIFE_RING_BYTES": "65536"}
    with HostAgent(["--no-table"], env) as agent:
        eventually(lambda: _has(metrics_store, 'tcplife_probe_sessions_total{tcplife_outcome="ring_full"}'))
        os.kill(agent.pid, signal.SIGSTOP)  # nobody reads the ring
        traffic.sessions(500)
        os.kill(agent.pid, signal.SIGCONT)
    traffic.close()
    lost = _outcomes(_asked(metrics_store)["TcplifeSessionsLost"])
    assert lost["ring_full"] == _said(agent, "ring_full") > 0
    seen, _ = _balance(metrics_store)
    assert sum(seen.values()) == _said(agent, "sessions ended") > seen["submitted"]


def _has(store: VictoriaMetrics, expression: str) -> bool:
    store.flush()
    return bool(store.store.query(expression))


def test_metrics_at_their_limit(elsewhere: Elsewhere, metrics_store: VictoriaMetrics) -> None:
    with HostAgent(["--no-table"], {**_OFTEN, **metrics_store.environ}):
        overflow(elsewhere)
        eventually(lambda: _has(metrics_store, 'tcplife_handshake_duration_seconds_count{otel_metric_overflow="true"}'))
    alerts = {sample.labels["__name__"] for sample in _asked(metrics_store)["TcplifeMetricOverflow"]}
    assert "tcplife_handshake_duration_seconds_count" in alerts


def _waiting(store: VictoriaMetrics, env: Mapping[str, str], condition: Callable[[], bool], made: Made) -> None:
    """While a receiver is away, the condition comes to hold."""
    [nobody] = free_ports(1)
    logs = {_LOGS: f"http://127.0.0.1:{nobody}/v1/logs"}
    with HostAgent(["--no-table"], {**_OFTEN, **store.environ, **logs, **env}):
        made.more(200, 0)
        eventually(condition)


def test_a_queue_that_fills(elsewhere: Elsewhere, metrics_store: VictoriaMetrics) -> None:
    def fires() -> bool:
        return bool(_asked(metrics_store)["TcplifeQueueFills"])

    _waiting(metrics_store, {"OTEL_PYTHON_TCPLIFE_MAX_QUEUE_SIZE": "500"}, fires, Made(elsewhere))


def test_a_spool_that_waits(elsewhere: Elsewhere, metrics_store: VictoriaMetrics, tmp_path: Path) -> None:
    """Here after a second, instead of five minutes."""
    alert = expressions()["TcplifeSpoolWaits"]
    assert "> 300" in alert

    def fires() -> bool:
        return _has(metrics_store, alert.replace("> 300", "> 1"))

    _waiting(metrics_store, {"OTEL_PYTHON_TCPLIFE_SPOOL": str(tmp_path / "spool")}, fires, Made(elsewhere))
    assert not _asked(metrics_store)["TcplifeSpoolWaits"]
