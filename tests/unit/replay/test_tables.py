"""A table is read cell by cell, though only COMM may hold spaces, and what cannot be told apart is unreadable."""

from __future__ import annotations

import pytest

from otel_tcplife.session import UNKNOWN_BYTES
from tests.unit.replay.reading import Replayed
from tests.unit.replay.tables import LIBBPF_FORMAT, LIBBPF_HEADER_FORMAT, ROW, TABLE, WIDE, narrow, wide


@pytest.mark.parametrize(
    ("comm", "cut"),
    [
        ("curl", "curl"),
        ("HTTP  conn 80", "HTTP  conn"),
        ("a b c d e", "a b c d e"),
        ("1 2 3", "1 2 3"),
        ("192.0.2.7 80", "192.0.2.7"),
        ("x,y", "x,y"),
        ("", ""),
        ("b'curl'", "curl"),
        ("b'redis-server'", "redis-se"),
        ('b"it\'s"', "it's"),
        ("b'\\xff\\\\\\t'", b"\xff\\\t"),
        ("b'abcde\\xff'", "abcde"),
        ("b'", "b'"),
        ("b'curl", "b'curl"),
        ("caf\u00e9-\u043f\u043e", "caf\u00e9-\u043f\u043e"),
    ],
)
def test_comm_in_a_narrow_table(replayed: Replayed, comm: str, cut: str | bytes) -> None:
    batch, summary = replayed(TABLE + narrow(comm) + narrow(comm, 1218429))
    assert summary.reasons == []
    assert batch["comm"].tolist() == [cut.encode() if isinstance(cut, str) else cut] * 2
    assert batch["pid"].tolist() == [7, 1218429]
    assert batch["local_port"].tolist() == [40000, 40000]


@pytest.mark.parametrize(
    ("comm", "cut"), [("Web Content 1 2", "Web Content 1 2"), ("", ""), ("b'recordProgramSt'", "recordProgramS")]
)
def test_comm_in_a_wide_table(replayed: Replayed, comm: str, cut: str) -> None:
    batch, summary = replayed(WIDE + wide(comm))
    assert summary.reasons == []
    assert (batch["comm"].tolist(), batch["ip_version"].tolist()) == ([cut.encode()], [6])


@pytest.mark.parametrize(
    ("cell", "comm"),
    [
        ("b'jbd2/sda1-8'", b"jbd2/sda1-8"),
        ("b'a,b'", b"a,b"),
        ("b'\\xd0\\x96'", "\u0416".encode()),
        ("b'\\d'", b"b'\\d'"),
        ("b'abcdefgh", b"b'abcdefgh"),
        ("bob's", b"bob's"),
    ],
)
def test_comm_in_csv(replayed: Replayed, cell: str, comm: bytes) -> None:
    batch, _ = replayed(f"PID,COMM,LADDR,LPORT,RADDR,RPORT,MS\n7,{cell},192.0.2.1,1,192.0.2.2,2,3.00\n")
    assert batch["comm"].tolist() == [comm]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("[...]", "1 fields where the header has 9"),
        (ROW[:40], "5 fields where the header has 9"),
        (ROW.replace("40000 ", ""), "8 fields where the header has 9"),
        (ROW.replace("7     ", ""), "8 fields where the header has 9"),
        (ROW.replace("7     curl ", "my curl "), "PID is no whole number from 0 to 4294967295: 'my'"),
        (" ".join(ROW.replace("curl", "").split()), "8 fields where the header has 9"),
        (ROW.replace("   2 ", " 2 9 "), "COMM is longer than its column: 'curl       192.0.2.1'"),
        (ROW.replace("curl       ", "curl Possibly lost 23 samples "), "COMM is longer than its column: "),
        (ROW.replace("198.51.100.1 ", "198.5Possibly lost 23 samples"), "COMM is longer than its column: "),
        (ROW.replace("192.0.2.1 ", "192.0.2.256 "), "LADDR is no IP address: '192.0.2.256'"),
        ("7,curl,192.0.2.1,40000,198.51.100.1,443,1,2,3.00", "1 fields where the header has 9"),
    ],
)
def test_what_cannot_be_told_apart_is_unreadable(replayed: Replayed, row: str, reason: str) -> None:
    batch, summary = replayed(f"{TABLE}{ROW}{row.rstrip()}\n{ROW}")
    assert [line for line, _ in summary.reasons] == [3]
    assert summary.reasons[0][1].startswith(reason)
    assert len(batch) == 2


@pytest.mark.parametrize(
    ("last", "sessions"),
    [(ROW.rstrip(), 2), (ROW.rstrip()[:-1], 1), (ROW.replace("3.00\n", "3"), 1), (ROW.replace("3.00\n", "3 "), 2)],
)
def test_a_table_without_its_last_end_of_line(replayed: Replayed, last: str, sessions: int) -> None:
    batch, summary = replayed(TABLE + ROW + last)
    assert (len(batch), summary.unreadable) == (sessions, 2 - sessions)


def test_a_copy_that_has_not_kept_the_spaces(replayed: Replayed) -> None:
    lines = (
        "  " + " ".join(line.split()) + "\n" for line in (TABLE, ROW, narrow("a b"), WIDE, wide("Web Content 1 2"))
    )
    batch, summary = replayed("".join(lines))
    assert summary.reasons == []
    assert batch["comm"].tolist() == [b"curl", b"a b", b"Web Content 1 2"]


def test_columns_that_a_table_lacks(replayed: Replayed) -> None:
    batch, _ = replayed("LADDR LPORT RADDR RPORT MS\n192.0.2.1 1 192.0.2.2 2 3.00\n")
    assert (batch["pid"].tolist(), batch["comm"].tolist()) == ([0], [b""])
    assert batch["bytes_sent"].tolist() == batch["bytes_received"].tolist() == [UNKNOWN_BYTES]
    batch, _ = replayed("COMM LADDR LPORT RADDR RPORT RX_KB MS\na b 192.0.2.1 1 192.0.2.2 2 5 3.00\n")
    assert (batch["comm"].tolist(), batch["bytes_sent"].tolist()) == ([b"a b"], [UNKNOWN_BYTES])
    assert batch["bytes_received"].tolist() == [5120]


def test_the_table_of_libbpf(replayed: Replayed) -> None:
    """Sizes with decimals, a time of day that is called TIME(s), a wider COMM, and no IP."""
    names = ("TIME(s)", "PID", "COMM", "LADDR", "LPORT", "RADDR", "RPORT", "TX_KB", "RX_KB", "MS")
    cells = ("11:00:00", 4321, "Web Content 123", "192.0.2.1", 4000, "192.0.2.2", 80, 0.12, 35.5, 0.26)
    batch, summary = replayed(LIBBPF_HEADER_FORMAT % names + LIBBPF_FORMAT % cells)
    assert summary.reasons == []
    assert (batch["comm"].tolist(), batch["pid"].tolist()) == ([b"Web Content 123"], [4321])
    assert (batch["bytes_sent"].tolist(), batch["bytes_received"].tolist()) == ([123], [36352])
    assert batch["closed_at"].tolist() != [0]
