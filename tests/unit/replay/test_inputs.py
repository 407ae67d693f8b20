"""What is read: files as they were when they were opened, named pipes and standard input; and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.replay.source import Summary
from tests.unit.replay.reading import HEADER, ROW, ns, opened, read_all, write


def test_many_rows_come_in_several_batches(tmp_path: Path) -> None:
    rows = [ROW.replace("7335", str(pid)) for pid in range(20_000)]
    source = opened(write(tmp_path / "long.csv", "\n".join([HEADER, *rows, ""])))
    first = source.read()
    assert 1000 < len(first) < 10_000
    pids = [*first["pid"].tolist(), *read_all(source)["pid"].tolist()]
    assert pids == list(range(20_000))


def test_what_is_written_after_the_opening_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "growing.csv", f"{HEADER}\n{ROW}\n")
    source = opened(path)
    with open(path, "a") as file:
        file.write(f"TIME,{HEADER}\n11:00:00,{ROW}\n")
    assert len(read_all(source)) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty; record with `tcplife -s`"),
        ("\n \n", "is empty; "),
        (
            "PID   COMM       LADDR           LPORT\n1 a b c",
            "the first line is 'PID   COMM       LADDR           LPORT'; ",
        ),
        (f"\x1b]0;{'x' * 100}\n", f"the first line is '\\x1b]0;{'x' * 56}'...; record with `tcplife -s`"),
        ("x" * 10_000, f"the first line is '{'x' * 60}'...; "),
        (f"{HEADER},PID\n", "is no output of tcplife: no line names its columns, the first line is 'PID,COMM,"),
        ("PID,LADDR,LPORT,RADDR,RPORT\n", "is no output of tcplife"),
        (f"NETNS,{HEADER}\n", "is no output of tcplife"),
    ],
)
def test_no_recording(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path / "other.csv", text)
    with pytest.raises(BadUsage) as raised:
        opened(path)
    assert str(raised.value).startswith(path)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    path = tmp_path / "missing.csv"
    with pytest.raises(BadUsage, match=r"^cannot read .*missing.csv: No such file or directory; give --replay a file"):
        opened(str(path))
    with pytest.raises(BadUsage, match=r"^cannot read .*: Is a directory; give --replay a file"):
        opened(str(tmp_path))


def test_rows_come_before_the_stream_ends(stdin_pipe: int) -> None:
    source = opened("-")
    assert len(source.read()) == 0
    os.write(stdin_pipe, f"{HEADER}\n{ROW}\n{ROW[:20]}".encode())
    assert len(source.read()) == 1
    assert len(source.read()) == 0
    os.write(stdin_pipe, f"{ROW[20:]}\n".encode())
    assert source.read()["comm"].tolist() == [b"curl"]
    assert not source.ended
    os.write(stdin_pipe, ROW.encode())
    os.close(stdin_pipe)
    assert len(read_all(source)) == 1
    assert source.ended
    assert source.summary == Summary(lines=4, sessions=3)


@pytest.mark.parametrize(("text", "told"), [("", "empty"), ("usage: tcplife\n", "the first line is 'usage: tcplife'")])
def test_no_recording_in_a_stream(stdin_pipe: int, text: str, told: str) -> None:
    os.write(stdin_pipe, text.encode())
    os.close(stdin_pipe)
    source = opened("-")
    with pytest.raises(BadUsage, match=f"^standard input is .*{told}"):
        read_all(source)
    source.close()


def test_a_named_pipe_waits_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    source = opened(str(path))
    assert (len(source.read()), source.ended) == (0, False)
    writing = os.open(path, os.O_WRONLY)
    os.write(writing, f"{HEADER}\n{ROW}\n".encode())
    os.close(writing)
    assert len(read_all(source)) == 1


def test_a_file_as_standard_input_is_read_from_where_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "recording.csv", f"skipped\nTIME,{HEADER}\n11:00:00,{ROW}\n", ns(2026, 3, 2, 12))
    kept = os.dup(0)
    with open(path, "rb", buffering=0) as file:
        file.read(len("skipped\n"))
        os.dup2(file.fileno(), 0)
    try:
        batch = read_all(opened("-"))
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert batch["closed_at"].tolist() == [ns(2026, 3, 2, 11)]
