"""What hosts send is in ClickHouse, each record once with all that it has, and queries say what was done."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.backends.documented import documented
from tests.backends.questions import SENT, Made, sessions_ended
from tests.fleet.clickhouse import ClickHouse
from tests.sql import DIRECTORY
from tests.support.collector import FLEET, Collector
from tests.support.elsewhere import ADDRESS, Elsewhere, network_elsewhere
from tests.support.host_agent import HostAgent
from tests.support.patience import eventually
from tests.support.received import ReceivedLog, read_otlp_json_lines
from tests.support.sql_queries import documented_queries
from tests.support.sql_rows import check_rows

_OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
_VIEW = (DIRECTORY / "sessions.clickhouse.sql").read_text()


@pytest.fixture
def store(tmp_path: Path) -> ClickHouse:
    """It does not run yet."""
    return ClickHouse(tmp_path / "store")


@pytest.fixture
def elsewhere() -> Generator[Elsewhere]:
    """Sessions that are not on loopback."""
    with network_elsewhere() as made:
        yield made


def _collector(binary: Path, store: ClickHouse, directory: Path) -> Collector:
    return Collector(directory / "collector", config=FLEET / "clickhouse.yaml", binary=binary, env=store.environ)


def _agent(collector: Collector, directory: Path, env: Mapping[str, str] = {}) -> HostAgent:
    """It writes what it sends to files as well."""
    files = ["--otlp-file", str(directory / "files")]
    return HostAgent(["--no-table", *files], {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http_endpoint, **env})


def _written(directory: Path) -> list[ReceivedLog]:
    return read_otlp_json_lines(directory / "files" / "logs.jsonl").logs


def _stored(store: ClickHouse, where: str = "1") -> int:
    [row] = store.query(f"SELECT count() AS rows FROM otel_logs WHERE {where}")
    return row["rows"]


def test_each_record_is_a_row_with_all_that_it_has(
    fleet_collector: Path, store: ClickHouse, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    with store:
        with _collector(fleet_collector, store, tmp_path) as collector:
            with _agent(collector, tmp_path):
                elsewhere.sessions(20, sent=1000)
                elsewhere.refused(7)
            written = _written(tmp_path)
            eventually(lambda: _stored(store) >= len(written))
        store.run(_VIEW)
        rows = store.query("SELECT *, toUnixTimestamp64Nano(timestamp) AS ns FROM sessions")
        later = "SELECT body FROM sessions WHERE timestamp >= now() + INTERVAL 1 DAY"
        plan = [row["explain"].strip() for row in store.query(f"EXPLAIN indexes = 1 {later}")]
    # A condition on the time leaves out all parts of the table
    assert any(line.startswith("Parts: 0/") for line in plan), plan
    check_rows(rows, written)
    assert {row["event"] for row in rows} >= {"tcplife.session.closed", "tcplife.connect.failed"}


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_the_documented_queries_say_what_was_done(
    fleet_collector: Path, store: ClickHouse, elsewhere: Elsewhere, tmp_path: Path, temporality: str
) -> None:
    env = {**_OFTEN, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality}
    made, program = Made(elsewhere), elsewhere.client.executable
    port, closed = made.ports
    here = f"FROM (SELECT * FROM sessions WHERE tcplife_netns = {elsewhere.inode})"
    queries = [query.replace("FROM sessions", here) for query in [*documented_queries(), documented("sql")[0]]]
    with store:
        with _collector(fleet_collector, store, tmp_path) as collector:
            with _agent(collector, tmp_path, env) as agent:
                made.more(100, 4)
                eventually(lambda: _seen(store) >= 204)
                made.more(50, 3)
            store.run(_VIEW)
            written = _written(tmp_path)
            eventually(lambda: _stored(store) >= len(written) and _seen(store) >= sessions_ended(agent))
        talkers, longest, failed, p99s = map(store.query, queries)
        _check_balance(store, agent)
    durations = sorted(
        float(log.attributes["tcplife.session.duration"])
        for log in written
        if log.attributes.get("tcplife.netns") == elsewhere.inode and port in log.ports
    )
    assert [tuple(row.values()) for row in talkers] == [(program, ADDRESS, 150 * SENT, 300)]
    assert [tuple(row.values()) for row in longest] == [(port, 300, durations[299])]
    assert [tuple(row.values()) for row in p99s] == [(port, 300, durations[297])]
    assert [tuple(row.values()) for row in failed] == [("ECONNREFUSED", ADDRESS, closed, 7)]


def _seen(store: ClickHouse) -> int:
    """How many sessions there were, as the metrics say."""
    return sum(row["sessions"] for row in store.query(documented("sql")[1]))


def _check_balance(store: ClickHouse, agent: HostAgent) -> None:
    """What was seen is what was submitted, what was exported, and what is stored."""
    seen, exported, records = map(store.query, documented("sql")[1:])
    outcomes = {row["outcome"]: row["sessions"] for row in seen}
    assert sum(outcomes.values()) == sessions_ended(agent)
    exporters = {(row["exporter"], row["outcome"]): row["records"] for row in exported}
    assert exporters["otlp", "exported"] == outcomes["submitted"]
    assert {outcome for _, outcome in exporters} == {"exported"}
    assert sum(row["records"] for row in records) == outcomes["submitted"]


def test_what_waits_for_it_outlives_kill_9(
    fleet_collector: Path, store: ClickHouse, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """It goes away while the Collector runs, which is killed then."""
    with ExitStack() as running:
        with store:
            collector = running.enter_context(_collector(fleet_collector, store, tmp_path))
            agent = running.enter_context(_agent(collector, tmp_path))
            elsewhere.sessions(20)
            eventually(lambda: _stored(store, f"LogAttributes['tcplife.netns'] = '{elsewhere.inode}'") >= 40)
        elsewhere.sessions(30)
        agent.stop()
        collector.kill()
    written = _written(tmp_path)
    with store:
        assert _stored(store) < len(written)
        with _collector(fleet_collector, store, tmp_path):
            eventually(lambda: _stored(store) >= len(written))
        rows = store.query("SELECT Body, toUnixTimestamp64Nano(Timestamp) AS ns, EventName FROM otel_logs")
    assert sorted(map(tuple, (row.values() for row in rows))) == sorted(
        (log.body, log.time_unix_nano, log.event_name) for log in written
    )


def test_a_table_can_be_given_a_column_for_names(
    fleet_collector: Path, store: ClickHouse, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """One that an older exporter has made lacks it, which is asked for once, when the Collector starts."""
    add = "ALTER TABLE otel_logs ADD COLUMN EventName String CODEC(ZSTD(1))"
    assert add in (FLEET / "clickhouse.yaml").read_text()
    ours = f"LogAttributes['tcplife.netns'] = '{elsewhere.inode}'"

    def send(collector: Collector) -> None:
        before = _stored(store, ours)
        with _agent(collector, tmp_path):
            elsewhere.sessions(5)
        eventually(lambda: _stored(store, ours) >= before + 10)

    with store:
        with _collector(fleet_collector, store, tmp_path):
            store.run("ALTER TABLE otel_logs DROP COLUMN EventName")
        with _collector(fleet_collector, store, tmp_path) as collector:
            send(collector)
            with pytest.raises(RuntimeError, match="EventName"):
                store.run(_VIEW)
            store.run(add)
            send(collector)
            assert _stored(store, f"{ours} AND EventName = ''") == 20
        with _collector(fleet_collector, store, tmp_path) as collector:
            send(collector)
        assert _stored(store, f"{ours} AND EventName = ''") == 20
        assert _stored(store, f"{ours} AND EventName = 'tcplife.session.closed'") == 10


def test_its_defaults_are_taken(fleet_collector: Path) -> None:
    """The other tests give it all that it asks for."""
    command = [fleet_collector, "validate", "--config", FLEET / "clickhouse.yaml"]
    done = subprocess.run(command, env={}, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_does_not_start_without_the_store(fleet_collector: Path, store: ClickHouse, tmp_path: Path) -> None:
    """So that what runs it has to start it again, and names of events are kept in any case."""
    with pytest.raises(RuntimeError, match="connection refused"), _collector(fleet_collector, store, tmp_path):
        pass
