"""COMM of each form in which tcplife prints it."""

from __future__ import annotations

import pytest

from tests.support.recordings import Replayed
from tests.support.tables import TABLE, WIDE, narrow, wide


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
