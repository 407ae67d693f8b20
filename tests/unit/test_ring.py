"""Reading the ring: at the wrap, with busy and discarded records, other records, and in batches of any size."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.probe.ring import take
from otel_tcplife.session import SESSION

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
