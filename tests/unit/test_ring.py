"""Reading the ring: at the wrap, with busy and discarded records, other records, and in batches of any size."""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.probe.ring import Ring, take
from otel_tcplife.session import SESSION

assert SESSION.itemsize % 8 == 0, "records of a ring begin at multiples of 8 bytes, so that rows must be as long"

_RING = 4096
_BUSY, _DISCARDED = 1 << 31, 1 << 30


def _session(number: int) -> bytes:
    session = np.zeros(1, SESSION)
    session["closed_at"] = number
    return session.tobytes()


def _record(content: bytes, flag: int = 0) -> bytes:
    return struct.pack("<II", len(content) | flag, 0) + content + bytes(-len(content) % 8)


_records = st.lists(
    st.one_of(
        st.sampled_from(["session", "session", "session", "discarded", "busy"]),
        st.integers(1, 300).map(lambda size: f"other {size}"),
        st.integers(1, 300).map(lambda size: f"discarded other {size}"),
    ),
    max_size=18,
)


def _encoded(kind: str, number: int) -> bytes:
    if kind == "session":
        return _record(_session(number))
    if kind == "discarded":
        return _record(_session(number), _DISCARDED)
    if kind == "busy":
        return _record(_session(number), _BUSY)
    size = int(kind.split()[-1])
    content = b"\xff" * (size if size != SESSION.itemsize else size + 1)
    return _record(content, _DISCARDED if kind.startswith("discarded") else 0)


@given(kinds=_records, start=st.integers(0, _RING // 8 - 1).map(lambda word: word * 8))
def test_takes_the_sessions_in_order_up_to_the_first_that_is_being_written(kinds: list[str], start: int) -> None:
    ring = np.zeros(_RING, np.uint8)
    position, written, wanted, done, busy = start, 0, list[int](), 0, False
    for number, kind in enumerate(kinds):
        record = np.frombuffer(_encoded(kind, number), np.uint8)
        if written + len(record) > _RING:
            break
        ring[(position + np.arange(len(record))) % _RING] = record
        position += len(record)
        written += len(record)
        busy = busy or kind == "busy"
        if not busy:
            done = written
            wanted += [number] if kind == "session" else []
    batch, read = take(np.concatenate([ring, ring]), start, written)
    assert batch["closed_at"].tolist() == wanted
    assert read == done


@given(records=st.integers(1, 40), start=st.integers(0, _RING // 8 - 1).map(lambda word: word * 8))
def test_what_ends_outside_the_mapped_window_is_left_for_the_next_one(records: int, start: int) -> None:
    data = np.frombuffer(bytes(start) + b"".join(_record(_session(number)) for number in range(records)), np.uint8)
    length = len(data) - start
    for window in (length - 1, length):
        batch, read = take(data, start, window)
        assert batch["closed_at"].tolist() == list(range(records - (window < length)))
        assert read == len(batch) * (8 + SESSION.itemsize)


def test_the_batch_is_a_copy() -> None:
    """The kernel writes over what has been read."""
    data = np.array(list(_record(_session(7)) * 2), np.uint8)
    batch, read = take(data, 0, len(data))
    data[:] = 0xFF
    assert (batch["closed_at"].tolist(), read) == ([7, 7], len(data))


@pytest.mark.parametrize("busy", [0, 1, 2])
def test_a_record_that_is_finished_between_two_looks_is_not_lost(busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may finish a record at any time: the session comes now or with the next reading, but it comes."""
    content = b"".join(_record(_session(number), _BUSY if number == busy else 0) for number in range(3))
    data = np.array(list(content), np.uint8)
    equal = np.equal

    def look_then_finish(lengths: npt.NDArray[np.uint32], size: int) -> npt.NDArray[np.bool_]:
        seen = equal(lengths, size)
        data[busy * (8 + SESSION.itemsize) + 3] = 0
        return seen

    monkeypatch.setattr(np, "equal", look_then_finish)
    first, done = take(data, 0, len(data))
    rest, more = take(data, done, len(data) - done)
    assert [*first["closed_at"].tolist(), *rest["closed_at"].tolist()] == [0, 1, 2]
    assert done + more == len(data)


@given(kinds=_records)
def test_past_a_record_that_stays_busy_all_others_are_taken(kinds: list[str]) -> None:
    encoded = [_encoded(kind, number) for number, kind in enumerate(kinds)]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    batch, done = take(data, 0, len(data), past_busy=True)
    assert batch["closed_at"].tolist() == [number for number, kind in enumerate(kinds) if kind == "session"]
    assert done == len(data)


@pytest.fixture
def ring_file() -> Iterator[tuple[int, mmap.mmap]]:
    """A file that is laid out as a ring of one page, and its memory."""
    page = mmap.PAGESIZE
    descriptor = os.memfd_create("ring")
    os.truncate(descriptor, 3 * page + page)
    with mmap.mmap(descriptor, 0) as memory:
        yield descriptor, memory
    os.close(descriptor)


@pytest.mark.parametrize("busy", [0, 1, 2])
def test_the_rest_is_read_past_a_record_that_stays_busy(ring_file: tuple[int, mmap.mmap], busy: int) -> None:
    descriptor, memory = ring_file
    page = mmap.PAGESIZE
    content = b"".join(_record(_session(number), _BUSY if number == busy else 0) for number in range(3))
    memory[2 * page : 2 * page + len(content)] = content
    memory[page : page + 8] = struct.pack("<Q", len(content))
    reader = Ring(descriptor, page)
    assert reader.read_rest(0.01)["closed_at"].tolist() == [number for number in range(3) if number != busy]
    assert memory[:8] == struct.pack("<Q", len(content))
    reader.unmap()


def test_the_rest_waits_for_a_record_that_is_finished_soon(
    ring_file: tuple[int, mmap.mmap], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor, memory = ring_file
    page = mmap.PAGESIZE
    content = _record(_session(1), _BUSY) + _record(_session(2))
    memory[2 * page : 2 * page + len(content)] = content
    memory[page : page + 8] = struct.pack("<Q", len(content))
    reader = Ring(descriptor, page)
    looks = 0

    def finish_at_the_third_look(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            memory[2 * page + 3] = 0

    monkeypatch.setattr(time, "sleep", finish_at_the_third_look)
    assert reader.read_rest(3600)["closed_at"].tolist() == [1, 2]
    reader.unmap()
