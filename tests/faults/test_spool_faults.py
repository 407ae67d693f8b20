"""What can happen to the spool between two runs: what is whole arrives, and what is not is counted."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.balance import check_balance, read_balance
from tests.faults.http_answers import away
from tests.faults.metrics import booked
from tests.faults.receiving import HttpScripted, Script
from tests.faults.replaying import Replaying
from tests.support.otlp_receiver import HttpReceiver

_LEFT = 5000
"""Records that the earlier run has left, in some 50 requests."""
_OWN = range(_LEFT, _LEFT + 500)
"""Of the run that finds them."""


def _env(receiver: HttpReceiver, spool: Path) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_PYTHON_TCPLIFE_REQUEST_BYTES": "100000",
        "OTEL_PYTHON_TCPLIFE_SPOOL": str(spool),
    }


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spool as a run leaves it that was killed while the receiver was away, in a file alone."""
    spool = tmp_path_factory.mktemp("left") / "spool"
    often = {"OTEL_METRIC_EXPORT_INTERVAL": "20"}
    with HttpScripted(Script(away=away)) as receiver, Replaying({**_env(receiver, spool), **often}) as command:
        command.feed(range(_LEFT), header=True)
        command.wait_until(lambda: booked([*receiver.requests])["spooled"] == _LEFT)
    with closing(sqlite3.connect(spool / "spool.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (spool / "spool.reserve").unlink()
    assert [path.name for path in spool.iterdir()] == ["spool.db"]
    return spool


@pytest.fixture
def spool(left: Path, tmp_path: Path) -> Path:
    """A copy of it for each test."""
    shutil.copytree(left, tmp_path / "spool")
    return tmp_path / "spool"


_COUNTS = 5 * 4096
"""Bytes at the beginning of the file, in which it says how much there is in it."""


def _overwrite(share: float) -> Callable[[Path], None]:
    """Have random bytes in the middle of the requests."""

    def damage(file: Path) -> None:
        size = file.stat().st_size - _COUNTS
        with file.open("r+b") as opened:
            opened.seek(_COUNTS + int(size * (1 - share) / 2))
            opened.write(random.randbytes(int(size * share)))

    return damage


def _cut(share: float) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.truncate(int(file.stat().st_size * share))

    return damage


def _garbage(file: Path) -> None:
    file.write_bytes(random.randbytes(50_000))


def _other_version(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 77")


def _nothing(file: Path) -> None:
    pass


_COUNTED: dict[str, Callable[[Path], None]] = {
    "nothing": _nothing,
    "some pages overwritten": _overwrite(0.1),
    "most pages overwritten": _overwrite(0.8),
    "the end cut off": _cut(0.7),
}
"""After which it is still known how many records the spool had."""

_NOT_A_SPOOL: dict[str, Callable[[Path], None]] = {
    "cut within its head": _cut(0.001),
    "garbage": _garbage,
    "of another version": _other_version,
}
"""After which the file is set aside."""


def _run_to_end(spool: Path) -> tuple[Replaying, HttpScripted]:
    with HttpScripted(Script()) as receiver, Replaying(_env(receiver, spool)) as command:
        command.feed(_OWN, header=True)
        command.wait_until(lambda: {*_OWN} <= {*receiver.script.acknowledged})
        assert command.end() == 0
    assert not any("Traceback" in line for line in command.said)
    return command, receiver


@pytest.mark.parametrize("fault", _COUNTED)
def test_what_was_damaged_is_counted(fault: str, spool: Path) -> None:
    _COUNTED[fault](spool / "spool.db")
    command, receiver = _run_to_end(spool)
    balance = read_balance(command.said)
    check_balance([balance], receiver.script.acknowledged)
    assert balance.waiting == 0
    assert balance.sinks["otlp"] == {"exported": len(_OWN)} or balance.sinks["otlp"]["spooled"]
    assert balance.sinks["otlp_spool"]["exported"] + balance.sinks["otlp_spool"]["damaged"] >= _LEFT
    assert balance.sinks["otlp_spool"]["damaged"] <= _LEFT // 2 or fault == "most pages overwritten"
    assert (balance.sinks["otlp_spool"]["damaged"] > 0) == (fault != "nothing")
    assert {*receiver.script.acknowledged} <= {*range(_OWN.stop)}


@pytest.mark.parametrize("fault", _NOT_A_SPOOL)
def test_what_is_no_spool_is_set_aside(fault: str, spool: Path) -> None:
    _NOT_A_SPOOL[fault](spool / "spool.db")
    before = (spool / "spool.db").read_bytes()
    command, receiver = _run_to_end(spool)
    check_balance([read_balance(command.said)], receiver.script.acknowledged)
    assert sorted(receiver.script.acknowledged) == [*_OWN]
    [aside] = [path for path in spool.iterdir() if path.name.startswith("spool.db.") and path.stat().st_size]
    assert aside.read_bytes()[4096:] == before[4096:]
    assert any(str(aside) in line for line in command.said), "the user is told where it is"


@pytest.fixture
def read_only(spool: Path) -> Iterator[Path]:
    """The spool on a disk that can only be read."""
    subprocess.run(["mount", "--bind", spool, spool], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", spool], check=True)
        yield spool
    finally:
        subprocess.run(["umount", "--lazy", spool], check=True)


def test_a_read_only_disk_is_bad_usage(read_only: Path) -> None:
    with HttpScripted(Script()) as receiver, Replaying(_env(receiver, read_only)) as command:
        assert command.wait() == 2
    [line] = command.said
    assert line.startswith(f"cannot use the spool {read_only}: ")
    assert "OTEL_PYTHON_TCPLIFE_SPOOL" in line


def test_a_second_agent_is_refused_and_harms_nothing(spool: Path) -> None:
    with HttpScripted(Script(away=away)) as receiver, Replaying(_env(receiver, spool)) as first:
        first.wait_until(lambda: any("replaying" in line for line in first.said))
        with Replaying(_env(receiver, spool)) as second:
            assert second.wait() == 2
        assert second.said == [
            f"cannot use the spool {spool}: another process uses it; have OTEL_PYTHON_TCPLIFE_SPOOL name a directory "
            "that this user can write to, and no other agent uses"
        ]
        receiver.script.away = None
        first.feed(_OWN, header=True)
        first.wait_until(lambda: len(receiver.script.acknowledged) == _OWN.stop)
        assert first.end() == 0
    check_balance([read_balance(first.said)], receiver.script.acknowledged)
    assert sorted(receiver.script.acknowledged) == [*range(_OWN.stop)]
