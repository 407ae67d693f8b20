"""Recordings that come through standard input and named pipes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.replay.recording import Summary, open_recording
from tests.support.recordings import HEADER, ROW, TIMED_ROW, ns, read_all, write

pytestmark = pytest.mark.usefixtures("in_berlin")


@pytest.fixture
def stdin_pipe() -> Iterator[int]:
    """The end to write to of a pipe that is standard input; the test closes it."""
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(kept, 0)
    os.close(kept)


def test_rows_come_before_the_stream_ends(stdin_pipe: int) -> None:
    replay = open_recording("-")
    assert len(replay.read()) == 0
    os.write(stdin_pipe, f"{HEADER}\n{ROW}\n{ROW[:20]}".encode())
    assert len(replay.read()) == 1
    assert len(replay.read()) == 0
    os.write(stdin_pipe, f"{ROW[20:]}\n".encode())
    assert replay.read()["comm"].tolist() == [b"curl"]
    assert not replay.ended
    os.write(stdin_pipe, ROW.encode())
    os.close(stdin_pipe)
    assert len(read_all(replay)) == 1
    assert replay.ended
    assert replay.summary == Summary(lines=4, sessions=3)


def test_times_of_a_stream(stdin_pipe: int) -> None:
    now = time.time_ns()
    second = now // 10**9
    soon, later, yesterday = (
        time.strftime("%H:%M:%S", time.localtime(second + ahead)) for ahead in (30, 300, 10 - 86400 // 2)
    )
    rows = [f"{soon},{TIMED_ROW}", f"{later},{TIMED_ROW}", f"{yesterday},{TIMED_ROW}"]
    os.write(stdin_pipe, "\n".join(["TIME,LADDR,LPORT,RADDR,RPORT,MS", *rows, ""]).encode())
    replay = open_recording("-")
    times: list[int] = replay.read()["closed_at"].tolist()
    assert times[0] == (second + 30) * 10**9
    assert -86_400 - 3600 <= times[1] // 10**9 - second <= 300 - 82_800
    assert times[2] == (second + 10 - 43_200) * 10**9

    rows = [f"5.000000,{TIMED_ROW}", f"7.500000,{TIMED_ROW}"]
    os.write(stdin_pipe, "\n".join(["TIME(s),LADDR,LPORT,RADDR,RPORT,MS", *rows, ""]).encode())
    batch = replay.read()
    assert batch["closed_at"][0] == batch["observed_at"][0]
    assert batch["closed_at"][1] - batch["closed_at"][0] == 2_500_000_000
    assert now <= batch["closed_at"][0] <= time.time_ns()
    os.close(stdin_pipe)
    assert len(read_all(replay)) == 0


@pytest.mark.parametrize(("text", "told"), [("", "empty"), ("usage: tcplife\n", "the first line is 'usage: tcplife'")])
def test_no_recording_in_a_stream(stdin_pipe: int, text: str, told: str) -> None:
    os.write(stdin_pipe, text.encode())
    os.close(stdin_pipe)
    replay = open_recording("-")
    with pytest.raises(BadUsage, match=f"^standard input is .*{told}"):
        read_all(replay)
    replay.close()


def test_a_named_pipe_waits_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    replay = open_recording(str(path))
    assert (len(replay.read()), replay.ended) == (0, False)
    writing = os.open(path, os.O_WRONLY)
    os.write(writing, f"{HEADER}\n{ROW}\n".encode())
    os.close(writing)
    assert len(read_all(replay)) == 1


def test_a_file_as_standard_input_is_read_from_where_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "recording.csv", f"skipped\nTIME,{HEADER}\n11:00:00,{ROW}\n", ns(2026, 3, 2, 12))
    kept = os.dup(0)
    with open(path, "rb", buffering=0) as file:
        file.read(len("skipped\n"))
        os.dup2(file.fileno(), 0)
    try:
        batch = read_all(open_recording("-"))
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert batch["closed_at"].tolist() == [ns(2026, 3, 2, 11)]
