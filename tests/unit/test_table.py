"""The lines expected here are those that the format strings of bcc's tcplife print."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address

import numpy as np
import pytest

from otel_tcplife.session import SESSION, UNKNOWN_BYTES, Event, SessionBatch, empty
from otel_tcplife.table import Table, TableOptions

AT = 1_790_034_578_500_000_000  # 23:49:38.5 UTC


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def session(local: str, peer: str, columns: Mapping[str, object]) -> SessionBatch:
    batch = empty(1)
    batch["event"] = Event.SESSION_CLOSED
    batch["ip_version"] = ip_address(peer).version
    for column, text in (("local_address", local), ("peer_address", peer)):
        address = ip_address(text)
        packed = address.packed if isinstance(address, IPv6Address) else bytes(10) + b"\xff\xff" + address.packed
        batch[column] = np.frombuffer(packed, np.uint8)
    for column, value in columns.items():
        batch[column] = value
    return batch


def redis(**columns: object) -> SessionBatch:
    known: dict[str, object] = {
        "closed_at": AT,
        "pid": 3277,
        "comm": b"redis-server",
        "local_port": 28527,
        "peer_port": 46644,
        "duration": 280_000,
    }
    return session("127.0.0.1", "127.0.0.1", known | columns)


def sshd(**columns: object) -> SessionBatch:
    known: dict[str, object] = {
        "closed_at": AT + 1_022_454_000,
        "pid": 26321,
        "comm": b"sshd",
        "local_port": 22,
        "peer_port": 22440,
        "duration": 458_690_000,
        "bytes_sent": 2047,
        "bytes_received": 10255 * 1024,
    }
    return session("fe80::8a3:9dff:fed5:6b19", "fe80::8a3:9dff:fed5:6b19", known | columns)


def table(options: TableOptions, *batches: SessionBatch) -> list[str]:
    written: list[str] = []
    shown = Table(options, written.append)
    shown.header()
    for batch in batches:
        shown.rows(batch)
    return "".join(written).splitlines()


def cells(batch: SessionBatch) -> dict[str, str]:
    header, line = table(TableOptions(csv=True), batch)
    return dict(zip(header.split(","), line.split(","), strict=True))


NARROW = [
    "PID   COMM       LADDR           LPORT RADDR           RPORT TX_KB RX_KB MS",
    "3277  redis-serv 127.0.0.1       28527 127.0.0.1       46644     0     0 0.28",
    "26321 sshd       fe80::8a3:9dff:fed5:6b19 22    fe80::8a3:9dff:fed5:6b19 22440     1 10255 458.69",
]
WIDE = [
    "PID   COMM             IP LADDR                      LPORT RADDR                      RPORT  TX_KB  RX_KB MS",
    "3277  redis-server     4  127.0.0.1                  28527 127.0.0.1                  46644      0      0 0.28",
    "26321 sshd             6  fe80::8a3:9dff:fed5:6b19   22    fe80::8a3:9dff:fed5:6b19   22440      1  10255 458.69",
]
CSV = [
    "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS",
    "3277,redis-server,4,127.0.0.1,28527,127.0.0.1,46644,0,0,0.28",
    "26321,sshd,6,fe80::8a3:9dff:fed5:6b19,22,fe80::8a3:9dff:fed5:6b19,22440,1,10255,458.69",
]


@pytest.mark.parametrize(
    ("time_of_day", "timestamp", "before", "before_csv"),
    [
        (False, False, ["", "", ""], ["", "", ""]),
        (True, False, ["TIME     ", "23:49:38 ", "23:49:39 "], ["TIME,", "23:49:38,", "23:49:39,"]),
        (False, True, ["TIME(s)   ", "0.000000  ", "1.022454  "], ["TIME(s),", "0.000000,", "1.022454,"]),
        (
            True,
            True,
            ["TIME     TIME(s)   ", "23:49:38 0.000000  ", "23:49:39 1.022454  "],
            ["TIME,TIME(s),", "23:49:38,0.000000,", "23:49:39,1.022454,"],
        ),
    ],
)
def test_forms(time_of_day: bool, timestamp: bool, before: list[str], before_csv: list[str]) -> None:
    for wide, csv, columns in ((False, False, NARROW), (True, False, WIDE), (False, True, CSV), (True, True, CSV)):
        options = TableOptions(time=time_of_day, timestamp=timestamp, wide=wide, csv=csv)
        expected = [start + rest for start, rest in zip(before_csv if csv else before, columns, strict=True)]
        assert table(options, redis(), sshd()) == expected


def test_a_batch_is_one_write() -> None:
    written: list[str] = []
    shown = Table(TableOptions(csv=True), written.append)
    shown.rows(np.zeros(0, SESSION))
    assert written == []
    shown.rows(np.concatenate([redis(), sshd()]))
    assert written == [f"{CSV[1]}\n{CSV[2]}\n"]


def test_time_since_first_can_be_negative() -> None:
    lines = table(TableOptions(timestamp=True), redis(), redis(closed_at=AT - 59_000))
    assert lines[2].startswith("-0.000059 3277 ")


def test_a_mapped_address_is_ipv4() -> None:
    row = cells(session("::ffff:10.0.0.1", "::ffff:10.0.0.2", {"ip_version": 4}))
    assert (row["IP"], row["LADDR"], row["RADDR"]) == ("4", "10.0.0.1", "10.0.0.2")


def test_an_ipv6_address_is_written_as_by_inet_ntop() -> None:
    row = cells(session("::102:304", "2001:DB8::", {}))
    assert (row["IP"], row["LADDR"], row["RADDR"]) == ("6", "::1.2.3.4", "2001:db8::")


def test_a_failed_connect_shows_its_handshake() -> None:
    failed = redis(event=Event.CONNECT_FAILED, duration=empty(1)["duration"], handshake=3_000_510_000)
    row = cells(failed)
    assert (row["MS"], row["TX_KB"], row["RX_KB"]) == ("3000.51", "0", "0")


def test_what_is_unknown() -> None:
    assert table(TableOptions(time=True, timestamp=True), session("::1", "::1", {"local_port": 1, "peer_port": 2})) == [
        "TIME     TIME(s)   PID   COMM       LADDR           LPORT RADDR           RPORT TX_KB RX_KB MS",
        "-        -         0                ::1             1     ::1             2         0     0 -",
    ]


def test_time_counts_from_the_first_session_whose_time_is_known() -> None:
    lines = table(TableOptions(timestamp=True, csv=True), redis(closed_at=0), redis(), redis(closed_at=AT + 10**9))
    assert [line.split(",")[0] for line in lines[1:]] == ["-", "0.000000", "1.000000"]


@pytest.mark.parametrize(
    ("comm", "shown"),
    [
        (b"a,b", "a,b"),
        (b"\xff\xfex", "\ufffd\ufffdx"),
        ("h\u00e9llo w\u00f6rld".encode(), "h\u00e9llo w\u00f6rld"),
        (b"x\n0,evil,4", "x\ufffd0,evil,4"),
        (b"\x1b[2J\x07\r\x7f", "\ufffd[2J\ufffd\ufffd\ufffd"),
        ("\u202eabc\u0085".encode(), "\ufffdabc\ufffd"),
    ],
)
def test_comm(comm: bytes, shown: str) -> None:
    lines = table(TableOptions(csv=True), redis(comm=comm))
    assert lines[1:] == [f"3277,{shown},4,127.0.0.1,28527,127.0.0.1,46644,0,0,0.28"]


def test_comm_is_cut_to_its_column() -> None:
    line = redis(comm="\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9abc".encode())
    assert table(TableOptions(), line)[1].startswith("3277  \u00e9\u00e9\u00e9\u00e9\u00e9\u00e9abc  127.0.0.1 ")
    assert table(TableOptions(), redis(comm=b"recordProgramSt"))[1].startswith("3277  recordProg 127.0.0.1 ")
    assert table(TableOptions(wide=True), redis(comm=b"recordProgramSt"))[1].startswith("3277  recordProgramSt  4  127")


def test_kilobytes_are_rounded_down_and_exact() -> None:
    row = cells(redis(bytes_sent=1023, bytes_received=(1 << 63) - 1))
    assert (row["TX_KB"], row["RX_KB"]) == ("0", "9007199254740991")


@pytest.mark.parametrize("unknown", [1 << 63, (1 << 64) - 1024, UNKNOWN_BYTES])
def test_kilobytes_that_are_unknown(unknown: int) -> None:
    row = cells(redis(bytes_sent=2048, bytes_received=unknown))
    assert (row["TX_KB"], row["RX_KB"]) == ("2", "0")
    row = cells(redis(bytes_sent=unknown, bytes_received=2048))
    assert (row["TX_KB"], row["RX_KB"]) == ("0", "2")


def test_milliseconds_come_from_whole_microseconds() -> None:
    # 15.5 us: tcplife has 15 of them, which "%.2f" rounds to 0.01, while 0.0155 would become 0.02
    assert cells(redis(duration=15_500))["MS"] == "0.01"
