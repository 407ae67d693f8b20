"""Limits of the process (setrlimit(2)): it goes on, or ends with one line that says which limit to raise."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.faults.balance import check_balance, read_balance
from tests.faults.http_answers import away
from tests.faults.metrics import booked
from tests.faults.receiving import HttpScripted, Script
from tests.faults.replaying import Replaying

_SESSIONS = range(20_000)


def _env(receiver: HttpScripted, spool: Path | None) -> dict[str, str]:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "50"}
    return {**variables, **({"OTEL_PYTHON_TCPLIFE_SPOOL": str(spool)} if spool else {})}


@pytest.mark.parametrize("files", [6, 12])
def test_a_start_with_few_descriptors(files: int, tmp_path: Path) -> None:
    limited = ["prlimit", f"--nofile={files}"]
    with HttpScripted(Script()) as receiver, Replaying(_env(receiver, tmp_path / "spool"), run=limited) as command:
        command.begin_to_feed(_SESSIONS, header=True)
        code = command.end()
    assert not any("Traceback" in line for line in command.said)
    if code == 0:
        check_balance([read_balance(command.said)], receiver.script.acknowledged)
    else:
        assert code in (1, 2)
        assert "Too many open files" in command.said[-1]


def test_no_more_descriptors_while_it_runs(tmp_path: Path) -> None:
    """It cannot connect anew then, and does so once it may."""
    with HttpScripted(Script(away=away)) as receiver, Replaying(_env(receiver, tmp_path / "spool")) as command:
        command.feed(range(10), header=True)
        command.wait_until(lambda: booked([*receiver.requests])["spooled"] == 10)
        limits = resource.prlimit(command.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(command.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        command.feed(_SESSIONS[10:])
        receiver.script.away = None
        receiver.hang_up()
        command.wait_until(lambda: any("Too many open files" in line for line in command.said))
        resource.prlimit(command.pid, resource.RLIMIT_NOFILE, limits)
        command.wait_until(lambda: len(receiver.script.acknowledged) == len(_SESSIONS))
        assert command.end() == 0
    check_balance([read_balance(command.said)], receiver.script.acknowledged)


@pytest.mark.parametrize("megabytes", [1, 16])
def test_no_more_memory_while_it_runs(megabytes: int, tmp_path: Path) -> None:
    """Where it cannot go on, it says so; what it has spooled arrives with the next start, all else is counted."""
    spool = tmp_path / "spool"
    with HttpScripted(Script(away=away)) as receiver:
        with Replaying(_env(receiver, spool)) as command:
            command.feed(range(10), header=True)
            command.wait_until(lambda: booked([*receiver.requests])["spooled"] == 10)
            pages = int(Path(f"/proc/{command.pid}/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + (megabytes << 20)
            resource.prlimit(command.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            command.begin_to_feed(_SESSIONS[10:])
            code = command.end()
        assert not any("Traceback" in line for line in command.said)
        if code:
            assert code == 1
            assert command.said[-1].startswith("cannot trace: MemoryError")
        receiver.script.away = None
        with Replaying(_env(receiver, spool)) as second:
            second.feed(range(0), header=True)
            second.wait_until(lambda: set(range(10)) <= {*receiver.script.acknowledged})
            assert second.end() == 0
    acknowledged = receiver.script.acknowledged
    if not code:
        check_balance([read_balance(command.said), read_balance(second.said)], acknowledged)
    assert acknowledged == sorted(acknowledged)
    if not any(" rejected" in line for line in command.said):
        assert acknowledged == [*range(len(acknowledged))], "those in memory only are the last ones"
