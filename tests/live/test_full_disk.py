"""The command with its files on a disk that is full for a while: a small one that the test mounts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.host_agent import COMMAND
from tests.support.received import ReceivedLog, read_otlp_json_lines

_SESSIONS = 1500
"""Three lines of logs.jsonl, of nearly half a megabyte each."""

_DISK, _FILLED = 2 << 20, 1 << 20
"""Bytes: there is room for two lines at first, and for all once the filling is gone."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk, half of it taken."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=0755", "none", mounted], check=True)
    try:
        (mounted / "filling").write_bytes(bytes(_FILLED))
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


@contextmanager
def _replaying(
    disk: Path, env: Mapping[str, str] = {}, told: str = "No space left on device; retrying"
) -> Generator[subprocess.Popen[str]]:
    """The command, on its way to write the sessions of a recording to the disk, which is full by now."""
    recording = disk.with_name("recording.csv")
    rows = [f"7,curl,4,192.0.2.1,{port},198.51.100.1,443,1,2,3.00" for port in range(1, _SESSIONS + 1)]
    recording.write_text("\n".join(["PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS", *rows, ""]))
    arguments = ["--no-table", "--replay", str(recording), "--otlp-file", str(disk / "data")]
    with subprocess.Popen(
        [COMMAND, *arguments], stderr=subprocess.PIPE, text=True, env={**_environment(), **env}
    ) as running:
        assert running.stderr
        try:
            assert running.stderr.readline().startswith("otel-tcplife: replaying; ")
            assert running.stderr.readline() == f"otel-tcplife: cannot write logs to {disk / 'data'}: {told}\n"
            yield running
        finally:
            running.kill()


def _said(running: subprocess.Popen[str]) -> list[str]:
    """All that is said from now on until it has ended, as it should."""
    assert running.stderr
    said = running.stderr.read().splitlines()
    assert running.wait() == 0
    return [line.removeprefix("otel-tcplife: ") for line in said]


def _written(disk: Path) -> list[ReceivedLog]:
    return read_otlp_json_lines(disk / "data" / "logs.jsonl").logs


def _ports(logs: list[ReceivedLog]) -> list[int]:
    return [int(log.attributes["network.local.port"]) for log in logs]


def test_nothing_is_lost_when_there_is_room_again(disk: Path) -> None:
    with _replaying(disk) as running:
        (disk / "filling").unlink()
        said = _said(running)
    assert said == [
        f"can write logs to {disk / 'data'} again",
        f"{_SESSIONS} sessions ended: {_SESSIONS} submitted",
        f"file: {_SESSIONS} exported",
    ]
    assert _ports(_written(disk)) == list(range(1, _SESSIONS + 1))
    points = read_otlp_json_lines(disk / "data" / "metrics.jsonl").points
    assert [point.count for point in points if point.name == "tcplife.session.duration"] == [_SESSIONS]


def test_what_still_waits_at_the_stop_is_unsent(disk: Path) -> None:
    with _replaying(disk, {"OTEL_METRICS_EXPORTER": "none"}) as running:
        running.send_signal(signal.SIGTERM)
        said = _said(running)
    exported = len(_written(disk))
    assert 0 < exported < _SESSIONS
    assert said == [
        f"{_SESSIONS} sessions ended: {_SESSIONS} submitted",
        f"file: {exported} exported, {_SESSIONS - exported} unsent",
    ]
    assert _ports(_written(disk)) == list(range(1, exported + 1))


def test_what_a_full_disk_refused_waits_in_the_spool_for_the_next_start(disk: Path, tmp_path: Path) -> None:
    """Logs and metrics, and each once."""
    spool = {"OTEL_PYTHON_TCPLIFE_SPOOL": str(tmp_path / "spool")}
    told = f"No space left on device; keeping all in {tmp_path / 'spool'}"
    with _replaying(disk, spool, told) as running:
        running.send_signal(signal.SIGTERM)
        said = _said(running)
    assert f"{_SESSIONS} sessions ended: {_SESSIONS} submitted" in said
    (disk / "filling").unlink()
    (tmp_path / "recording.csv").write_text("PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS\n")
    arguments = ["--no-table", "--replay", str(tmp_path / "recording.csv"), "--otlp-file", str(disk / "data")]
    subprocess.run([COMMAND, *arguments], env={**_environment(), **spool}, check=True)
    assert _ports(_written(disk)) == list(range(1, _SESSIONS + 1))
    points = read_otlp_json_lines(disk / "data" / "metrics.jsonl").points
    durations = [point.count for point in points if point.name == "tcplife.session.duration"]
    assert durations == [_SESSIONS]
