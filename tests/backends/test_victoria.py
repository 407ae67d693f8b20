"""VictoriaMetrics and VictoriaLogs answer the questions of docs/backends.md exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.backends.documented import counted_by, documented
from tests.backends.questions import SENT, Made, check_answers
from tests.support.elsewhere import ADDRESS, Elsewhere
from tests.support.host_agent import HostAgent
from tests.support.patience import eventually
from tests.support.victoria import VictoriaLogs, VictoriaMetrics

_OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
_NEVER_BEFORE_THE_END = {"OTEL_METRIC_EXPORT_INTERVAL": "86400000"}


def _two_rounds(made: Made, store: VictoriaMetrics, env: Mapping[str, str]) -> HostAgent:
    """The host agent when it has ended; the series grow after the first export that has them."""
    with HostAgent(["--no-table"], {**_OFTEN, **env}) as agent:
        made.more(20, 5)
        eventually(lambda: _has_sessions(store, made.port))
        made.more(10, 3)
    return agent


def _has_sessions(store: VictoriaMetrics, port: int) -> bool:
    store.flush()
    return bool(store.store.query(f'tcplife_session_duration_seconds_count{{server_port="{port}"}}'))


@pytest.mark.parametrize(("temporality", "function"), [("cumulative", "increase_pure"), ("delta", "sum_over_time")])
def test_the_four_questions(
    elsewhere: Elsewhere, metrics_store: VictoriaMetrics, logs_store: VictoriaLogs, temporality: str, function: str
) -> None:
    made, store = Made(elsewhere), metrics_store.store
    env = {**metrics_store.environ, **logs_store.environ}
    agent = _two_rounds(made, metrics_store, {**env, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality})
    metrics_store.flush()
    logs_store.flush()
    durations = [
        float(each["tcplife.session.duration"])
        for each in logs_store.query(f"tcplife.netns:={elsewhere.inode} event_name:=tcplife.session.closed")
    ]
    queries = [counted_by(function, query) for query in documented("promql")]
    check_answers(store, queries, made, agent, durations)


def test_the_four_questions_of_log_records(elsewhere: Elsewhere, logs_store: VictoriaLogs) -> None:
    made = Made(elsewhere)
    with HostAgent(["--no-table"], logs_store.environ):
        made.more(30, 8)
    logs_store.flush()
    bytes_by, p99_by, failed_by, records = (
        logs_store.query(query.replace("_time:1h", f"_time:1h tcplife.netns:={elsewhere.inode}"))
        for query in documented("logsql")
    )
    program, port, closed = elsewhere.client.executable, str(made.port), str(made.ports[1])
    talker = {"process.executable.name": program, "network.peer.address": ADDRESS, "network.peer.port": port}
    assert bytes_by[0] == {**talker, "sent": str(made.sessions * SENT), "received": "0"}
    durations = [
        float(each["tcplife.session.duration"])
        for each in logs_store.query(f"tcplife.netns:={elsewhere.inode} network.peer.port:={port}")
    ]
    assert len(durations) == made.sessions
    [p99] = p99_by
    assert (p99["network.peer.port"], float(p99["p99"])) == (port, max(durations))
    why = {"network.peer.port": closed, "error.type": "ECONNREFUSED"}
    assert failed_by == [{"process.executable.name": program, **why, "failed": str(made.refused)}]
    assert {row["event_name"]: int(row["records"]) for row in records} == {
        "tcplife.session.closed": 2 * made.sessions,
        "tcplife.connect.failed": made.refused,
    }


def test_what_becomes_of_a_record(elsewhere: Elsewhere, logs_store: VictoriaLogs) -> None:
    made = Made(elsewhere)
    with HostAgent(["--no-table"], logs_store.environ):
        made.more(1, 1)
    logs_store.flush()
    [client] = logs_store.query(
        f"tcplife.netns:={elsewhere.inode} tcplife.role:=client event_name:=tcplife.session.closed"
    )
    [failed] = logs_store.query(f"tcplife.netns:={elsewhere.inode} event_name:=tcplife.connect.failed")
    program, port = elsewhere.client.executable, client["network.local.port"]
    assert client["_msg"].startswith(
        f"act-client[{elsewhere.client.pid}] {ADDRESS}:{port} -> {ADDRESS}:{made.port} closed"
    )
    stream = {"host.name": client["host.name"], "process.executable.name": program, "tcplife.role": "client"}
    assert client["_stream"] == "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in stream.items()) + "}"
    assert (client["severity_number"], client["severity_text"]) == ("9", "INFO")
    assert (failed["severity_number"], failed["severity_text"]) == ("13", "WARN")
    assert (client["process.pid"], client["tcplife.bytes.sent"]) == (str(elsewhere.client.pid), str(SENT))
    assert client["service.name"] == client["telemetry.sdk.name"] == "otel-tcplife"


def test_what_becomes_of_a_metric(elsewhere: Elsewhere, metrics_store: VictoriaMetrics) -> None:
    """One export, so that each series has one value, of which increase() knows no growth."""
    made, store = Made(elsewhere), metrics_store.store
    with HostAgent(["--no-table"], {**metrics_store.environ, **_NEVER_BEFORE_THE_END}):
        made.more(30, 1)
    metrics_store.flush()
    count = f'sum(FUNCTION(tcplife_session_duration_seconds_count{{server_port="{made.port}"}}[1h]))'
    assert store.sums(count.replace("FUNCTION", "increase")) == {(): 0}
    assert store.sums(count.replace("FUNCTION", "increase_pure")) == {(): 60}
    series = store.series(f'{{server_port="{made.port}"}}')
    assert {each["service_name"] for each in series} == {"otel-tcplife"}
    assert {each["host_name"] for each in series} == {
        each["host_name"] for each in store.series("tcplife_session_active")
    }
    assert not store.series("target_info")


def test_exponential_histograms_have_no_le(elsewhere: Elsewhere, metrics_store: VictoriaMetrics) -> None:
    made, store = Made(elsewhere), metrics_store.store
    exponential = "base2_exponential_bucket_histogram"
    env = {**metrics_store.environ, "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": exponential}
    with HostAgent(["--no-table"], {**env, **_NEVER_BEFORE_THE_END}):
        made.more(30, 0)
    metrics_store.flush()
    buckets = store.series(f'tcplife_session_duration_seconds_bucket{{server_port="{made.port}"}}')
    assert buckets
    assert all("vmrange" in each and "le" not in each for each in buckets)
    grown = f'increase_pure(tcplife_session_duration_seconds_bucket{{server_port="{made.port}"}}[1h])'
    assert not store.query(f"histogram_quantile(0.99, sum by (le) ({grown}))")
    [p99] = store.query(f"histogram_quantile(0.99, sum by (vmrange) ({grown}))")
    assert p99.value > 0
