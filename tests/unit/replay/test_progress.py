"""The progress of a replay: what its line says, and where it is shown."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from otel_tcplife.replay.progress import Progress
from otel_tcplife.replay.source import ReplaySource
from tests.support.host_agent import COMMAND
from tests.support.patience import PATIENCE

_HEADER = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS\n"
_ROW = "7,curl,4,10.0.0.1,4000,10.0.0.2,80,3,5,0.26\n"


@pytest.mark.parametrize(
    ("sessions", "waiting", "fraction", "line"),
    [
        (1000, 0, 0.25, "1000 sessions, 500 a second, 25% of the recording, 6 s left"),
        (1000, 200, 0.25, "800 sessions, 400 a second, 20% of the recording, 8 s left"),
        (1000, 1000, 0.25, "0 sessions, 0 a second"),
        (0, 0, 0.25, "0 sessions, 0 a second"),
        (1000, 0, None, "1000 sessions, 500 a second"),
        (0, 0, 0.0, "0 sessions, 0 a second"),
        (1000, 0, 1.0, "1000 sessions, 500 a second, 100% of the recording, 0 s left"),
        (1000, 500, 1.0, "500 sessions, 250 a second, 50% of the recording, 2 s left"),
    ],
)
def test_it_says_how_many_how_fast_and_how_long_it_takes(
    sessions: int, waiting: int, fraction: float | None, line: str
) -> None:
    now = 100.0
    shown: list[str] = []
    progress = Progress(lambda: sessions, lambda: waiting, lambda: fraction, shown.append, lambda: now)
    now += 2
    progress.go_on()
    assert shown == [line]


def test_it_is_shown_twice_a_second_and_not_at_once() -> None:
    now = 100.0
    shown: list[str] = []
    progress = Progress(lambda: 1, lambda: 0, lambda: None, shown.append, lambda: now)
    for _ in range(40):
        progress.go_on()
        now += 0.0625
    assert len(shown) == 4


def test_how_much_of_a_file_has_been_read(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_text(_HEADER + _ROW * 10000)
    with closing(ReplaySource(str(path))) as source:
        fractions = [source.fraction]
        while not source.ended:
            source.read()
            fractions.append(source.fraction)
    assert fractions == sorted(fractions, key=lambda fraction: fraction or 0)
    assert fractions[0] == 0
    assert 0 < (fractions[1] or 0) < 1
    assert fractions[-1] == 1


def test_of_a_stream_it_is_not_known(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with closing(ReplaySource(str(tmp_path / "pipe"))) as source:
        assert source.fraction is None


@contextmanager
def _replaying(tmp_path: Path, **streams: int) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """A replay of a pipe, and the descriptor to write to it; it has ended when the block has."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [COMMAND, "--replay", str(pipe), "--no-table", "--otlp-file", str(tmp_path)]
    with subprocess.Popen(command, **streams) as process:  # pyright: ignore[reportArgumentType,reportCallIssue]
        descriptor = os.open(pipe, os.O_WRONLY)
        try:
            yield process, descriptor
        finally:
            os.close(descriptor)
            process.wait(PATIENCE)


def test_a_terminal_shows_it_until_the_next_line(tmp_path: Path) -> None:
    terminal, slave = pty.openpty()
    shown = b""
    with _replaying(tmp_path, stderr=slave) as (_, recording):
        os.close(slave)
        os.write(recording, (_HEADER + _ROW).encode())
        while b"1 sessions, " not in shown:
            shown += os.read(terminal, 4096)
    while chunk := _read(terminal):
        shown += chunk
    os.close(terminal)
    lines = shown.decode().split("\r\n")
    assert lines[0] == f"otel-tcplife: replaying; OTLP JSON Lines to {tmp_path}"
    status, _, balance = lines[1].rpartition("\r\x1b[K")
    assert status.startswith("\r\x1b[Kotel-tcplife: ")
    assert balance == "otel-tcplife: 1 sessions ended: 1 submitted"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # nobody has the other side open any more
        return b""


def test_a_file_has_none_of_it(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("wb") as errors, _replaying(tmp_path, stderr=errors.fileno()) as (_, recording):
        os.write(recording, (_HEADER + _ROW).encode())
        while not (tmp_path / "logs.jsonl").exists() or not (tmp_path / "logs.jsonl").stat().st_size:
            pass
    assert "a second" not in (tmp_path / "errors").read_text()
    assert "\r" not in (tmp_path / "errors").read_text()
