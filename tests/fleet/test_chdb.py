"""The view of docs/sql/ for ClickHouse, run by chDB, which is that engine in a process and is large to install."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.fleet.clickhouse import chdb
from tests.sql import DIRECTORY
from tests.support.elsewhere import ADDRESS, CLOSED_PORT, PORT, network_elsewhere
from tests.support.host_agent import HostAgent
from tests.support.sql_queries import documented_queries

_RUN = """
import json, sys
from chdb.session import Session

session = Session()
view, queries = json.load(sys.stdin)
session.query(view)
print(json.dumps([json.loads(str(session.query(query, "JSON")))["data"] for query in queries]))
"""


def _results(directory: Path, queries: list[str]) -> list[list[dict[str, Any]]]:
    view = (DIRECTORY / "sessions.chdb.sql").read_text()
    with chdb() as python:
        done = subprocess.run(
            [python, "-c", _RUN],
            input=json.dumps([view, queries]), cwd=directory, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    return json.loads(done.stdout)


def test_the_documented_queries_say_what_was_done(tmp_path: Path) -> None:
    with network_elsewhere() as elsewhere:
        with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]):
            elsewhere.sessions(30, sent=1000)
            elsewhere.refused(7)
        here = f"(SELECT * FROM sessions WHERE tcplife_netns = {elsewhere.inode})"
        queries = [query.replace("FROM sessions", f"FROM {here}") for query in documented_queries()]
        [[both], [durations], [failed]] = _results(tmp_path, queries)
    assert (both["network_peer_address"], int(both["sent"]), int(both["sessions"])) == (ADDRESS, 30_000, 60)
    assert (int(durations["port"]), int(durations["sessions"])) == (PORT, 60)
    assert (failed["error_type"], int(failed["network_peer_port"]), int(failed["failed"])) == (
        "ECONNREFUSED",
        CLOSED_PORT,
        7,
    )
