"""The view of docs/sql/ has each log record of real files as a row, and the documented queries give what was done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.sql import DIRECTORY, VIEWS
from tests.support.elsewhere import ADDRESS, CLOSED_PORT, PORT, Elsewhere
from tests.support.host_agent import HostAgent
from tests.support.received import read_otlp_json_lines
from tests.support.sql_queries import documented_queries
from tests.support.sql_rows import check_rows


@pytest.mark.parametrize("name", VIEWS)
def test_the_views_are_those_of_the_contract(name: str) -> None:
    """`python -m tests.sql` writes them."""
    assert (DIRECTORY / name).read_text() == VIEWS[name]()


@pytest.fixture
def view(elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[duckdb.DuckDBPyConnection]:
    """Over the files of an agent that saw some sessions, in a few of them."""
    for sessions, refused in ((20, 0), (10, 7)):
        with HostAgent(["--otlp-file", str(tmp_path), "--no-table"], {"OTEL_PYTHON_TCPLIFE_FILE_BYTES": "20000"}):
            elsewhere.sessions(sessions, sent=1000)
            elsewhere.refused(refused)
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        connection.execute((DIRECTORY / "sessions.duckdb.sql").read_text())
        yield connection


def _rows(view: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    result = view.execute(query)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row)) for row in result.fetchall()]


def test_each_record_is_a_row_with_all_that_it_has(view: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    files = sorted(tmp_path.glob("logs.jsonl*"))
    assert len(files) > 1
    written = [log for file in files for log in read_otlp_json_lines(file).logs]
    rows = _rows(view, "SELECT *, epoch_ns(timestamp) AS ns FROM sessions")
    check_rows(rows, written)


def test_the_documented_queries_say_what_was_done(view: duckdb.DuckDBPyConnection, elsewhere: Elsewhere) -> None:
    here = f"SELECT * FROM sessions WHERE tcplife_netns = {elsewhere.inode}"
    talkers, durations, failed = (
        _rows(view, query.replace("FROM sessions", f"FROM ({here})")) for query in documented_queries()
    )
    executable = elsewhere.client.executable
    assert [tuple(row.values()) for row in talkers] == [(executable, ADDRESS, 30_000, 60)]
    assert [(row["port"], row["sessions"]) for row in durations] == [(PORT, 60)]
    assert durations[0]["longest"] > 0
    assert [tuple(row.values()) for row in failed] == [("ECONNREFUSED", ADDRESS, CLOSED_PORT, 7)]
