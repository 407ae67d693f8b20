"""Requests on disk: in order, bounded, whole after kill -9, and as much as can be read of a damaged file."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.request import Request
from otel_tcplife.export.otlp.spool import CannotSpool, Spool

STREAM = "otlp"
MIB = 1 << 20


def _request(number: int, size: int = 100) -> Request:
    """One whose body is its number, and bytes that cannot be compressed."""
    return Request(number.to_bytes(4, "big") + random.Random(number).randbytes(size), 1)


def _numbers(spool: Spool, stream: str = STREAM) -> list[int]:
    """All that waits, from the oldest on."""
    numbers: list[int] = []
    after = 0
    while waiting := spool.oldest(stream, after):
        after = waiting.id
        numbers.append(int.from_bytes(waiting.request.body[:4], "big"))
        assert waiting.request == _request(numbers[-1])
    return numbers


def _filled(directory: Path, count: int) -> Spool:
    spool = Spool(str(directory), 64 * MIB)
    for number in range(count):
        spool.add(STREAM, [_request(number)])
    return spool


def test_requests_come_back_in_order_each_from_its_stream(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "made" / "here"), MIB)
    for number in range(10):
        spool.add("logs" if number % 2 else "metrics", [_request(number)])
    assert _numbers(spool, "logs") == [1, 3, 5, 7, 9]
    assert _numbers(spool, "metrics") == [0, 2, 4, 6, 8]
    assert (spool.items("logs"), spool.items("nothing")) == (5, 0)
    spool.close()
    again = Spool(str(tmp_path / "made" / "here"), MIB)
    assert _numbers(again, "logs") == [1, 3, 5, 7, 9]
    assert again.bytes > 10 * 100
    again.close()


def test_what_is_settled_is_gone_and_what_is_left_keeps_its_place(tmp_path: Path) -> None:
    spool = _filled(tmp_path, 4)
    first, second = spool.oldest(STREAM), spool.oldest(STREAM, 1)
    assert first
    assert second
    spool.settle(first, [])
    spool.settle(second, [_request(7), _request(8)])
    waiting = spool.oldest(STREAM)
    assert waiting
    assert (waiting.id, waiting.request) == (2, Request(b"".join([_request(7).body, _request(8).body]), 2))
    assert spool.items(STREAM) == 4
    spool.close()


def test_its_size_is_bounded_and_its_room_is_used_again(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), MIB)
    for round_ in range(3):
        kept = 0
        while spool.bytes + 10_200 < MIB:
            spool.add(STREAM, [_request(kept, 10_000)])
            kept += 1
        with pytest.raises(CannotSpool, match=f"^the spool {tmp_path} is full$"):
            spool.add(STREAM, [_request(kept, 10_000)])
        assert 100 <= kept <= 104, round_
        assert spool.is_half_full
        assert (tmp_path / "spool.db").stat().st_size < 2 * MIB
        while waiting := spool.oldest(STREAM):
            spool.settle(waiting, [])
        assert (spool.bytes, spool.is_half_full, spool.age()) == (0, False, 0)
    spool.close()
    # What was given back is the disk's
    assert sum(path.stat().st_size for path in tmp_path.iterdir() if path.name != "spool.reserve") < MIB // 4


def test_the_age_is_that_of_the_oldest(tmp_path: Path) -> None:
    spool = _filled(tmp_path, 2)
    assert 0 <= (spool.age() or 0) < time.time()
    spool.close()


# Files that are not as they should be


def test_two_processes_do_not_use_one_spool(tmp_path: Path) -> None:
    spool = _filled(tmp_path, 1)
    with pytest.raises(BadUsage, match=f"^cannot use the spool {tmp_path}: another process uses it; have OTEL_PYTHON"):
        Spool(str(tmp_path), MIB)
    spool.close()
    Spool(str(tmp_path), MIB).close()


@pytest.mark.parametrize("below", ["file", "file/below"])
def test_no_directory(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadUsage, match=f"^cannot use the spool .*{below}: .*; have OTEL_PYTHON_TCPLIFE_SPOOL name"):
        Spool(str(tmp_path / below), MIB)


def test_a_link_that_somebody_laid_out_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "spool.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadUsage, match=r"spool\.db in it is a symbolic link"):
        Spool(str(tmp_path), MIB)
    assert (tmp_path / "elsewhere").read_text() == ""


def test_what_is_no_spool_is_set_aside(tmp_path: Path, logged: list[str]) -> None:
    (tmp_path / "spool.db").write_text("something else" * 1000)
    spool = Spool(str(tmp_path), MIB)
    spool.add(STREAM, [_request(1)])
    assert _numbers(spool) == [1]
    spool.close()
    [aside] = tmp_path.glob("spool.db.damaged-*")
    assert aside.read_text() == "something else" * 1000
    assert logged == [f"the spool {tmp_path / 'spool.db'} is damaged; it is now {aside}, and a new one is begun"]


def test_a_spool_of_another_version_is_set_aside(tmp_path: Path, logged: list[str]) -> None:
    _filled(tmp_path, 3).close()
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    spool = Spool(str(tmp_path), MIB)
    assert _numbers(spool) == []
    spool.close()
    [aside] = tmp_path.glob("spool.db.version-7-*")
    with sqlite3.connect(aside) as connection:
        assert connection.execute("SELECT count(*) FROM requests").fetchone() == (3,)
    connection.close()
    assert "is version-7; it is now" in logged[0]


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("seed", range(20))
def test_of_a_damaged_file_all_is_kept_that_can_be_read(seed: int, tmp_path: Path) -> None:
    _filled(tmp_path, 400).close()
    path = tmp_path / "spool.db"
    content = bytearray(path.read_bytes())
    at = random.Random(seed).randrange(4096, len(content) - 4096)
    content[at : at + 512] = bytes(512)
    path.write_bytes(content)
    spool = Spool(str(tmp_path), MIB)
    spool.add(STREAM, [_request(400)])
    numbers = _numbers(spool)
    while waiting := spool.oldest(STREAM):
        spool.settle(waiting, [])
    assert len(numbers) + spool.take_lost(STREAM) == 401
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 400
    # One page of many is damaged, at worst one that leads to others
    assert len(numbers) > 300
    spool.close()


@settings(max_examples=100)
@given(
    changes=st.lists(st.tuples(st.integers(0, 40_000), st.binary(min_size=1, max_size=64)), max_size=8),
    length=st.integers(0, 40_000) | st.none(),
)
@example(changes=[(3968, b"@\x80")], length=None)  # SQLite's message is no text
@example(changes=[(3968, b"\x80")], length=None)  # the text of the layout is another one
@pytest.mark.usefixtures("logged")
def test_whatever_the_file_is_the_spool_is_of_use(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]], length: int | None
) -> None:
    """It gives nothing that was never written, and takes what comes."""
    directory = tmp_path_factory.mktemp("spool")
    _filled(directory, 200).close()
    path = directory / "spool.db"
    content = bytearray(path.read_bytes())
    for at, change in changes:
        content[at : at + len(change)] = change
    path.write_bytes(content[:length])
    spool = Spool(str(directory), MIB)
    added = spool.add(STREAM, [_request(999)])
    assert 999 in _numbers(spool)
    spool.settle(added, [])
    assert 999 not in _numbers(spool)
    spool.close()


@pytest.mark.parametrize("gone", ["spool.*", "spool.db", "spool.db-wal"])
def test_a_file_that_goes_while_it_is_in_use_is_made_anew_with_all_that_waits(
    gone: str, tmp_path: Path, logged: list[str]
) -> None:
    spool = _filled(tmp_path / "spool", 50)
    for path in (tmp_path / "spool").glob(gone):
        path.unlink()
    spool.add(STREAM, [_request(50)])
    assert logged[-1] == "50 requests of the spool that is gone are in the new one"
    assert _numbers(spool) == [*range(51)]
    shutil.copytree(tmp_path / "spool", tmp_path / "after kill -9")
    assert _numbers(Spool(str(tmp_path / "after kill -9"), MIB)) == [*range(51)]
    spool.close()
    assert _numbers(Spool(str(tmp_path / "spool"), MIB)) == [*range(51)]


_KILLED = """
import sys
from otel_tcplife.export.otlp.spool import Spool
from tests.unit.test_spool import STREAM, _request
spool = Spool(sys.argv[1], 1 << 26)
for number in range(1000000):
    spool.add(STREAM, [_request(number)])
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 50, 500, 3000])
def test_all_that_was_added_is_there_after_kill_9(lines: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(lines):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        said = [int(line) for line in process.stdout.read().splitlines() if line]
    spool = Spool(str(tmp_path), 64 * MIB)
    numbers = _numbers(spool)
    assert numbers == [*range(len(numbers))]
    assert len(numbers) >= (said[-1] + 1 if said else lines)
    spool.close()
