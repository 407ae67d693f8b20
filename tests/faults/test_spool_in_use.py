"""What can happen to the spool while it is in use, with a receiver that is away: nothing is lost uncounted."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.balance import Balance, check_balance, read_balance
from tests.faults.http_answers import away
from tests.faults.metrics import booked, waiting
from tests.faults.receiving import HttpScripted, Script
from tests.faults.replaying import Replaying

_FIRST, _SECOND = range(2000), range(2000, 4000)
"""Sessions before the fault and after it."""


def _spool_env(receiver: HttpScripted, spool: Path, **variables: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "20",
        "OTEL_PYTHON_TCPLIFE_REQUEST_BYTES": "100000",
        "OTEL_PYTHON_TCPLIFE_SPOOL": str(spool),
        **variables,
    }


def _spooled(receiver: HttpScripted) -> int:
    return booked([*receiver.requests])["spooled"]


def _remove_file(spool: Path) -> None:
    (spool / "spool.db").unlink()


def _remove_log(spool: Path) -> None:
    (spool / "spool.db-wal").unlink()


def _remove_files(spool: Path) -> None:
    for path in spool.iterdir():
        path.unlink(missing_ok=True)  # the command may have renamed it, as the one before it is gone


def _remove_directory(spool: Path) -> None:
    """Also what the command puts into it meanwhile, as it notices that the file is gone."""
    while spool.exists():
        shutil.rmtree(spool, ignore_errors=True)


def _rename_directory(spool: Path) -> None:
    spool.rename(spool.with_name("renamed"))


def _put_another_there(spool: Path) -> None:
    other = spool / "other"
    other.write_bytes(b"not a spool")
    other.rename(spool / "spool.db")


def _cut(size: int) -> Callable[[Path], None]:
    return lambda spool: os.truncate(spool / "spool.db", size)


def _overwrite(spool: Path) -> None:
    """All of both files, which are not renamed."""
    for path in spool.iterdir():
        with suppress(FileNotFoundError), path.open("r+b") as opened:  # the command may have renamed it, as damaged
            opened.write(random.randbytes(path.stat().st_size))


_LOSING_NOTHING = {
    "the file removed": _remove_file,
    "its write-ahead log removed": _remove_log,
    "all files removed": _remove_files,
    "the directory removed": _remove_directory,
    "the directory renamed": _rename_directory,
    "another file in its place": _put_another_there,
}

_DAMAGING = {"emptied": _cut(0), "cut off": _cut(20_000), "overwritten": _overwrite}
_NOTICED_LATE = ("overwritten",)
"""What SQLite 3.46 notices only when it reads the file again, so that what it writes until then is damaged, too."""


@dataclass(frozen=True)
class _Run:
    """The command to its end."""

    balance: Balance
    acknowledged: list[int]


def _run_with(fault: Callable[[Path], None], spool: Path) -> _Run:
    with HttpScripted(Script(away=away)) as receiver, Replaying(_spool_env(receiver, spool)) as command:
        command.feed(_FIRST, header=True)
        command.wait_until(lambda: _spooled(receiver) == len(_FIRST))
        fault(spool)
        command.feed(_SECOND)
        command.wait_until(lambda: _spooled(receiver) == _SECOND.stop)
        receiver.script.away = None
        command.wait_until(lambda: waiting([*receiver.requests]) == 0)
        assert command.end() == 0
    assert not any("Traceback" in line for line in command.said)
    balance = read_balance(command.said)
    check_balance([balance], receiver.script.acknowledged)
    assert not balance.waiting
    return _Run(balance, receiver.script.acknowledged)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[_Run]]]:
    """With all faults at once, as they wait most of the time for the sender to try again."""
    faults = {**_LOSING_NOTHING, **_DAMAGING}
    with ThreadPoolExecutor(len(faults)) as pool:
        yield {
            name: pool.submit(_run_with, fault, tmp_path_factory.mktemp("in-use") / "spool")
            for name, fault in faults.items()
        }


@pytest.mark.parametrize("fault", _LOSING_NOTHING)
def test_a_file_that_goes_costs_nothing(fault: str, runs: dict[str, Future[_Run]]) -> None:
    run = runs[fault].result()
    assert run.balance.exported == _SECOND.stop
    assert sorted(run.acknowledged) == [*range(_SECOND.stop)]


@pytest.mark.parametrize("fault", _DAMAGING)
def test_what_is_damaged_is_counted(fault: str, runs: dict[str, Future[_Run]]) -> None:
    run = runs[fault].result()
    assert run.balance.exported + run.balance.sinks["otlp_spool"]["damaged"] == _SECOND.stop
    assert {*_SECOND} <= {*run.acknowledged} or fault in _NOTICED_LATE
    assert _SECOND[-1] in run.acknowledged


def test_a_file_that_was_made_anew_survives_kill_9(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with HttpScripted(Script(away=away)) as receiver:
        with Replaying(_spool_env(receiver, spool)) as killed:
            killed.feed(_FIRST, header=True)
            killed.wait_until(lambda: _spooled(receiver) == len(_FIRST))
            _remove_directory(spool)
            killed.feed(_SECOND)
            killed.wait_until(lambda: _spooled(receiver) == _SECOND.stop)
            killed.kill()
        receiver.script.away = None
        with Replaying(_spool_env(receiver, spool)) as last:
            last.feed(range(0), header=True)
            last.wait_until(lambda: len(receiver.script.acknowledged) == _SECOND.stop)
            assert last.end() == 0
    assert sorted(receiver.script.acknowledged) == [*range(_SECOND.stop)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """One with room for the reserve of the spool, and for a few requests once fill() has filled it."""
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0755", "none", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _fill(disk: Path) -> None:
    """Leave half a megabyte."""
    room = os.statvfs(disk)
    (disk / "filling").write_bytes(bytes(room.f_bavail * room.f_frsize - (512 << 10)))


def _leave(_: Path) -> None:
    pass


@dataclass(frozen=True)
class _Limit:
    """Something that leaves no room for all that is to wait."""

    act: Callable[[Path], None] = _leave
    run: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])


_LIMITS = {
    "a disk that is full": _Limit(_fill),
    "a spool that is full": _Limit(env={"OTEL_PYTHON_TCPLIFE_SPOOL_BYTES": str(1 << 20)}),
    "files that may be no larger": _Limit(run=("prlimit", f"--fsize={3 << 20}")),
}

_LARGE = {"OTEL_PYTHON_TCPLIFE_REQUEST_BYTES": "1000000"}

_MANY = range(70_000)
"""More than there is room for."""


@contextmanager
def _without_room(limit: _Limit, disk: Path) -> Generator[tuple[HttpScripted, Replaying]]:
    """The command, with a spool that has taken all that it can, while sessions still come."""
    with (
        HttpScripted(Script(away=away)) as receiver,
        Replaying(_spool_env(receiver, disk / "spool", **_LARGE, **limit.env), run=limit.run) as command,
    ):
        command.feed(range(0), header=True)
        command.wait_until(lambda: any("replaying" in line for line in command.said))
        limit.act(disk)
        command.begin_to_feed(_MANY)
        command.wait_until(lambda: any(re.search(r"cannot export logs .*; retrying", line) for line in command.said))
        yield receiver, command


@pytest.mark.parametrize("reason", _LIMITS)
def test_where_there_is_no_room_it_waits_in_memory(reason: str, small_disk: Path) -> None:
    """Sessions that are replayed wait in the recording; those of a kernel would be dropped at last, and counted."""
    with _without_room(_LIMITS[reason], small_disk) as (receiver, command):
        receiver.script.away = None
        command.wait_until(lambda: len(receiver.script.acknowledged) == len(_MANY))
        assert command.end() == 0
    balance = read_balance(command.said)
    check_balance([balance], receiver.script.acknowledged)
    assert balance.sinks["otlp"]["spooled"] > 0
    assert balance.exported == len(_MANY)
    assert not balance.waiting


def test_what_has_no_room_at_the_stop_is_unsent(small_disk: Path) -> None:
    """And it can be started again while the disk is still full."""
    limit = _LIMITS["a disk that is full"]
    with _without_room(limit, small_disk) as (_, first):
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
    earlier = read_balance(first.said)
    with (
        HttpScripted(Script()) as receiver,
        Replaying(_spool_env(receiver, small_disk / "spool", **_LARGE, **limit.env), run=limit.run) as second,
    ):
        second.feed(range(0), header=True)
        second.wait_until(lambda: len(receiver.script.acknowledged) == earlier.waiting)
        assert second.end() == 0
    check_balance([earlier, read_balance(second.said)], receiver.script.acknowledged)
    assert earlier.sinks["otlp"]["unsent"] > 0
    assert earlier.sinks["otlp"]["spooled"] > 0
