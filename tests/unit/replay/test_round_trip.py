"""What our own table and CSV print is read back as the same sessions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otel_tcplife.replay.source import Summary
from otel_tcplife.session import SESSION, UNKNOWN, UNKNOWN_TIME, Event, SessionBatch, empty
from otel_tcplife.table import Table, TableOptions
from tests.unit.replay.reading import ns, opened, read_all, write

IPV4 = st.binary(min_size=4, max_size=4).map(lambda packed: bytes(10) + b"\xff\xff" + packed)
IPV6 = st.binary(min_size=16, max_size=16).filter(lambda packed: not packed.startswith(bytes(10) + b"\xff\xff"))
ENDS = st.one_of(st.tuples(st.just(4), IPV4, IPV4), st.tuples(st.just(6), IPV6, IPV6))
COMM = st.one_of(
    st.binary(max_size=15).map(lambda comm: comm.rstrip(b"\0")),
    st.text(alphabet="a,\u00e9 \"'", max_size=7).map(str.encode),
    st.text().map(lambda text: text.encode("utf-8", "replace")[:15].rstrip(b"\0")),
)
KILOBYTES = st.integers(0, (1 << 53) - 1)
PORT = st.integers(0, 0xFFFF)
SESSIONS = st.lists(
    st.tuples(
        ENDS,
        COMM,
        PORT,
        PORT,
        st.integers(0, UNKNOWN),
        KILOBYTES,
        KILOBYTES,
        st.integers(0, 10**11),
        st.integers(0, 10**11),
    ),
    max_size=8,
)


def batch_of(sessions: list[tuple[tuple[int, bytes, bytes], bytes, int, int, int, int, int, int, int]]) -> SessionBatch:
    batch = empty(len(sessions))
    batch["event"] = Event.SESSION_CLOSED
    at = ns(2026, 3, 2, 12)
    for row, (ends, comm, local_port, peer_port, pid, sent, received, duration, step) in enumerate(sessions):
        at += step
        batch["ip_version"][row] = ends[0]
        batch["local_address"][row] = np.frombuffer(ends[1], np.uint8)
        batch["peer_address"][row] = np.frombuffer(ends[2], np.uint8)
        batch["comm"][row] = comm
        batch["local_port"][row], batch["peer_port"][row], batch["pid"][row] = local_port, peer_port, pid
        batch["bytes_sent"][row], batch["bytes_received"][row] = sent * 1024, received * 1024
        batch["duration"][row] = duration * 10_000 if duration else UNKNOWN_TIME
        batch["closed_at"][row] = at
    return batch


def text_of(batch: SessionBatch, options: TableOptions) -> str:
    written: list[str] = []
    table = Table(options, written.append)
    table.header()
    table.rows(batch)
    return "".join(written)


def shown(comm: bytes, options: TableOptions) -> bytes:
    """What is left of a comm that was printed: no bytes that are not UTF-8 nor any that cannot be printed.

    A table has COMM cut, and its spaces cannot be told from those around it.
    """
    text = comm.decode("utf-8", "replace")
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    if not options.csv:
        text = text[: 16 if options.wide else 10].strip(" ")
    return text.encode()[:15]


@given(sessions=SESSIONS, options=st.builds(TableOptions, st.booleans(), st.booleans(), st.booleans(), st.booleans()))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    sessions: list[tuple[tuple[int, bytes, bytes], bytes, int, int, int, int, int, int, int]],
    options: TableOptions,
) -> None:
    batch = batch_of(sessions)
    assume(not any(comm.startswith((b"b'", b'b"')) for comm in batch["comm"].tolist()))  # read as bcc's form of bytes
    text = text_of(batch, options)
    ended_at = int(batch["closed_at"][-1]) if sessions else 10**18
    path = write(tmp_path_factory.getbasetemp() / "round_trip.csv", text, ended_at)
    source = opened(path)
    found = read_all(source)

    assert source.summary == Summary(lines=1 + len(sessions), sessions=len(sessions))
    expected: SessionBatch = np.array(batch)
    expected["comm"] = [shown(comm, options) for comm in batch["comm"].tolist()]
    for column in SESSION.names or ():
        if column not in ("closed_at", "observed_at"):
            assert found[column].tolist() == expected[column].tolist(), column
    errors = [abs(int(was) - int(at)) for was, at in zip(batch["closed_at"], found["closed_at"], strict=True)]
    if not (options.time or options.timestamp):
        assert not found["closed_at"].any()
    else:
        assert all(error <= 10**9 for error in errors)
    if options.time and options.timestamp:
        times = TableOptions(time=True, csv=True)
        assert text_of(found, times) == text_of(expected, times)
