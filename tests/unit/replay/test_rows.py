"""Every line of a recording is a session, a header, blank, or reported."""

from __future__ import annotations

import time

import pytest

from otel_tcplife.session import UNKNOWN, UNKNOWN_BYTES, UNKNOWN_TIME, Event
from tests.unit.replay.reading import HEADER, ROW, Replayed, addresses, ns

# The CSV of tcplife's own example: https://github.com/iovisor/bcc/blob/master/tools/tcplife_example.txt
EXAMPLE = """\
TIME,TIME(s),PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS
23:39:38,0.000000,7335,recordProgramSt,4,127.0.0.1,48098,127.0.0.1,28527,0,0,0.26
23:39:38,0.000064,3277,redis-server,4,127.0.0.1,28527,127.0.0.1,48098,0,0,0.32
23:39:39,1.025078,7358,recordProgramSt,4,127.0.0.1,48100,127.0.0.1,28527,0,0,0.25
23:39:39,1.025141,3277,redis-server,4,127.0.0.1,28527,127.0.0.1,48100,0,0,0.30
23:39:41,2.040949,7381,recordProgramSt,4,127.0.0.1,48102,127.0.0.1,28527,0,0,0.24
23:39:41,2.041011,3277,redis-server,4,127.0.0.1,28527,127.0.0.1,48102,0,0,0.29
23:39:42,3.067848,7404,recordProgramSt,4,127.0.0.1,48104,127.0.0.1,28527,0,0,0.30
23:39:42,3.067914,3277,redis-server,4,127.0.0.1,28527,127.0.0.1,48104,0,0,0.35
[...]
"""


_NOT_IN_A_RECORDING = {
    UNKNOWN_TIME: "handshake",
    UNKNOWN: "uid effective_uid real_uid rtt_smoothed rtt_min",
    0: "created_at parent_pid vpid retransmits handshake_retransmits timeouts out_of_order error role owner_source "
    "close_reason",
    b"": "executable",
}
"""The columns, by what they have where nothing is known."""


def test_the_example_of_tcplife(replayed: Replayed) -> None:
    batch, summary = replayed(EXAMPLE, ns(2026, 3, 1, 23, 39, 42) + 999)

    assert batch["pid"].tolist() == [7335, 3277, 7358, 3277, 7381, 3277, 7404, 3277]
    assert batch["comm"].tolist() == [b"recordProgramSt", b"redis-server"] * 4
    assert batch["ip_version"].tolist() == [4] * 8
    assert addresses(batch, "local_address") == addresses(batch, "peer_address") == ["mapped 127.0.0.1"] * 8
    assert batch["local_port"].tolist() == [48098, 28527, 48100, 28527, 48102, 28527, 48104, 28527]
    assert batch["peer_port"].tolist() == [28527, 48098, 28527, 48100, 28527, 48102, 28527, 48104]
    assert batch["bytes_sent"].tolist() == batch["bytes_received"].tolist() == [0] * 8
    assert (batch["duration"] // 10_000).tolist() == [26, 32, 25, 30, 24, 29, 30, 35]
    assert (batch["duration"] % 10_000).tolist() == [0] * 8
    # the third session closed within 23:39:39, the fifth within :41: so the first one 0.959051 s into its second
    start = ns(2026, 3, 1, 23, 39, 38) + 959_051_000
    since_start = [0, 64, 1_025_078, 1_025_141, 2_040_949, 2_041_011, 3_067_848, 3_067_914]
    assert [at - start for at in batch["closed_at"].tolist()] == [us * 1000 for us in since_start]

    assert batch["event"].tolist() == [Event.SESSION_CLOSED] * 8
    assert abs(int(batch["observed_at"][0]) - time.time_ns()) < 60 * 10**9
    for unknown, columns in _NOT_IN_A_RECORDING.items():
        for column in columns.split():
            assert batch[column].tolist() == [unknown] * 8, column

    assert (summary.lines, summary.sessions, summary.unreadable) == (10, 8, 1)
    assert summary.reasons == [(10, "1 fields where the header has 12")]


@pytest.mark.parametrize("before", ["", "TIME,", "TIME(s),", "TIME,TIME(s),"])
def test_header_forms(replayed: Replayed, before: str) -> None:
    values = {"": "", "TIME,": "11:00:00,", "TIME(s),": "0.500000,", "TIME,TIME(s),": "11:00:00,0.500000,"}
    batch, summary = replayed(f"{before}{HEADER}\n{values[before]}{ROW}\n")
    assert (len(batch), summary.unreadable) == (1, 0)
    assert batch["pid"].tolist() == [7335]
    assert (batch["bytes_sent"].tolist(), batch["bytes_received"].tolist()) == ([3072], [5120])
    assert batch["duration"].tolist() == [260_000]


def test_columns_in_any_order_and_only_the_required_ones(replayed: Replayed) -> None:
    batch, _ = replayed("MS,RADDR,RPORT,COMM,LPORT,LADDR\n1.50,::1,80,a,b,c,4000,::2\n")
    assert addresses(batch, "local_address") + addresses(batch, "peer_address") == ["::2", "::1"]
    assert (batch["local_port"].tolist(), batch["peer_port"].tolist()) == ([4000], [80])
    assert (batch["comm"].tolist(), batch["duration"].tolist()) == ([b"a,b,c"], [1_500_000])
    assert (batch["pid"].tolist(), batch["ip_version"].tolist()) == ([0], [6])
    batch, _ = replayed("LADDR,LPORT,RADDR,RPORT,MS\n::2,4000,::1,80,1.5\n")
    assert (batch["comm"].tolist(), batch["pid"].tolist()) == ([b""], [0])
    assert batch["bytes_sent"].tolist() == batch["bytes_received"].tolist() == [UNKNOWN_BYTES]


@pytest.mark.parametrize(
    ("comm", "read"),
    [
        (b"a,b,,", b"a,b,,"),
        (b"\xff\x80,\x1b", b"\xff\x80,\x1b"),
        (b" x\r", b" x\r"),
        (b"", b""),
        (b"0123456789abcdefgh", b"0123456789abcde"),
    ],
)
def test_comm(replayed: Replayed, comm: bytes, read: bytes) -> None:
    batch, summary = replayed(HEADER.encode() + b"\n7," + comm + b",4,10.0.0.1,1,10.0.0.2,2,0,0,0.00\n")
    assert (batch["comm"].tolist(), summary.unreadable) == ([read], 0)


def test_a_mapped_address_is_ipv4(replayed: Replayed) -> None:
    batch, _ = replayed(f"{HEADER}\n1,a,6,::ffff:10.0.0.1,1,::ffff:10.0.0.2,2,0,0,0.00\n")
    assert batch["ip_version"].tolist() == [4]
    assert addresses(batch, "peer_address") == ["mapped 10.0.0.2"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("[...]", "1 fields where the header has 10"),
        ("7335,curl,4,127.0.0.1,48098,127.0.0.1,28527,0,0", "9 fields where the header has 10"),
        (ROW.replace("48098", "65536"), "LPORT is no whole number from 0 to 65535: '65536'"),
        (ROW.replace("28527", "-1"), "RPORT is no whole number from 0 to 65535: '-1'"),
        (ROW.replace("28527", "\u0665"), "RPORT is no whole number from 0 to 65535: '\\u0665'"),
        (ROW.replace("7335", ""), "PID is no whole number from 0 to 4294967295: ''"),
        (ROW.replace("7335", "4294967296"), "PID is no whole number from 0 to 4294967295: '4294967296'"),
        (ROW.replace("3,5", "1e3,5"), "TX_KB is no number of KB from 0 to 18014398509481983: '1e3'"),
        (ROW.replace("3,5", "3,-5"), "RX_KB is no number of KB from 0 to 18014398509481983: '-5'"),
        (ROW.replace("0.26", "nan"), "MS is no number of milliseconds: 'nan'"),
        (ROW.replace("0.26", "inf"), "MS is no number of milliseconds: 'inf'"),
        (ROW.replace("0.26", "-0.26"), "MS is no number of milliseconds: '-0.26'"),
        (ROW.replace("0.26", "1" * 14), f"MS is no number of milliseconds: '{'1' * 14}'"),
        (ROW.replace("127.0.0.1,48", "127.0.0.256,48"), "LADDR is no IP address: '127.0.0.256'"),
        (ROW.replace("127.0.0.1,28", "\x1b[2J\u00ff,28"), "RADDR is no IP address: '\\x1b[2J\\xff'"),
        (ROW.replace("127.0.0.1,28", "::1,28"), "LADDR and RADDR are of different IP versions"),
        (ROW.replace(",4,", ",6,"), "IP is '6' where LADDR is '127.0.0.1'"),
        (ROW.replace("curl", "x" * 2000), "longer than 1024 bytes"),
        (ROW.replace("curl", "x" * 600_000), "longer than 1024 bytes"),
    ],
)
def test_unreadable_lines(replayed: Replayed, row: str, reason: str) -> None:
    batch, summary = replayed(f"{HEADER}\n{ROW}\n\n{row}\n{ROW}\n")
    assert summary.reasons == [(4, reason)]
    assert (len(batch), summary.lines) == (2, 5)


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        ("TIME,", "24:00:00,", "TIME is no time of day: '24:00:00'"),
        ("TIME,", "1:2:3,", "TIME is no time of day: '1:2:3'"),
        ("TIME(s),", "nan,", "TIME(s) is no number of seconds: 'nan'"),
    ],
)
def test_unreadable_times(replayed: Replayed, header: str, row: str, reason: str) -> None:
    assert replayed(f"{header}{HEADER}\n{row}{ROW}\n")[1].reasons == [(2, reason)]


def test_without_comm_there_is_no_room_for_commas(replayed: Replayed) -> None:
    _, summary = replayed("LADDR,LPORT,RADDR,RPORT,MS\n::2,4000,::1,80,1.50,1\n")
    assert summary.reasons == [(2, "6 fields where the header has 5")]


def test_all_unreadable_lines_are_counted_and_some_kept(replayed: Replayed) -> None:
    _, summary = replayed(HEADER + "\n" + "x\n" * 50)
    assert (summary.unreadable, len(summary.reasons), summary.reasons[-1][0]) == (50, 10, 11)


@pytest.mark.parametrize(("end", "sessions"), [("", 2), ("\n", 2), ("\r\n", 2), ("\n\n  \n", 2)])
def test_ends_of_lines(replayed: Replayed, end: str, sessions: int) -> None:
    batch, summary = replayed(f"\r\n{HEADER}\r\n{ROW}\r\n\r\n{ROW}{end}")
    assert (len(batch), summary.unreadable) == (sessions, 0)


@pytest.mark.parametrize("cut", [1, 2])
def test_a_last_line_that_was_cut_off(replayed: Replayed, cut: int) -> None:
    batch, summary = replayed(f"{HEADER}\n{ROW}\n{ROW}"[:-cut])
    assert (len(batch), summary.reasons) == (1, [(3, "cut off: it has no end of line")])
