"""A recording as a source: its balance, and what is said of lines that are no sessions."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from otel_tcplife.cli import main
from otel_tcplife.errors import BadUsage
from otel_tcplife.replay.source import ReplaySource

HEADER = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS"
ROW = "7,curl,4,10.0.0.1,4000,10.0.0.2,80,3,5,0.26"


def _replayed(path: Path) -> tuple[ReplaySource, int]:
    """The source when it is drained, and the sessions that were read."""
    source = ReplaySource(str(path))
    read = 0
    while not source.ended:
        read += len(source.read())
    assert len(source.drain()) == 0
    source.close()
    return source, read


@pytest.mark.parametrize("unreadable", [0, 1, 10, 11, 50])
def test_the_first_unreadable_lines_are_logged_one_by_one_then_how_many(
    unreadable: int, tmp_path: Path, logged: list[str]
) -> None:
    path = tmp_path / "recording.csv"
    path.write_text("\n".join([HEADER, *["x"] * unreadable, ROW, ROW, ""]))
    source, read = _replayed(path)
    stats = source.stats()
    assert (read, stats.seen, stats.active) == (2, 2 + unreadable, 0)
    assert stats.outcomes == {"submitted": 2, "unreadable": unreadable}
    reasons = [f"line {line}: 1 fields where the header has 10" for line in range(2, 2 + unreadable)]
    total = [f"{unreadable} of {3 + unreadable} lines could not be read"] if unreadable else []
    assert logged == reasons[:10] + total


def test_no_recording(tmp_path: Path) -> None:
    with pytest.raises(BadUsage):
        ReplaySource(str(tmp_path / "missing.csv"))


def test_a_stream_with_nothing_ready_is_asked_again_later(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    source = ReplaySource(str(path))
    with os.fdopen(os.open(path, os.O_WRONLY), "w") as pipe:
        assert len(source.read()) == 0
        assert source.pause > 0
        print(HEADER, ROW, sep="\n", file=pipe, flush=True)
        assert len(source.read()) == 1
        assert source.pause == 0
    while not source.ended:
        assert len(source.read()) == 0
    source.close()


@pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept")
def test_a_stream_that_is_no_recording_is_bad_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    writing = threading.Thread(target=Path("pipe").write_text, args=["usage: tcplife\n"])
    writing.start()
    assert main(["--replay", "pipe", "--no-table"]) == 2
    writing.join()
    assert capsys.readouterr().err.splitlines() == [
        "otel-tcplife: replaying; OTLP JSON Lines to ./otel-tcplife-data",
        "otel-tcplife: pipe is no output of tcplife: no line names its columns, the first line is 'usage: tcplife'; "
        "record with `tcplife -s`, and -T to have the times",
    ]
