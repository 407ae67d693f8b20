"""Every line of a recording is a session, a header, blank, or reported; and its sessions closed when they did."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from ipaddress import IPv6Address
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otel_tcplife.errors import BadUsage
from otel_tcplife.replay.recording import REASONS_KEPT, Replay, Summary, open_recording
from otel_tcplife.session import SESSION, UNKNOWN, UNKNOWN_BYTES, UNKNOWN_TIME, Event, SessionBatch, empty
from otel_tcplife.table import Table, TableOptions

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
HEADER = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS"
ROW = "7335,curl,4,127.0.0.1,48098,127.0.0.1,28527,3,5,0.26"
TIMED_ROW = "0.0.0.0,1,0.0.0.0,2,0.00"
ZONE = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True, scope="module")
def berlin() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def ns(*moment: int, fold: int = 0) -> int:
    """Unix ns of a local year, month, day, hour, minute, second."""
    year, month, day, *of_day = moment
    return int(datetime(year, month, day, *of_day, tzinfo=ZONE, fold=fold).timestamp()) * 10**9


def hms(times: list[int]) -> list[str]:
    return [datetime.fromtimestamp(at // 10**9, ZONE).strftime("%d %H:%M:%S") for at in times]


def read_all(replay: Replay) -> SessionBatch:
    batches = [empty(0)]
    while not replay.ended:
        batches.append(replay.read())
    replay.close()
    return np.concatenate(batches)


def write(path: Path, text: str | bytes, ended_at: int = ns(2026, 3, 2, 12)) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, ns=(ended_at, ended_at))
    return str(path)


@pytest.fixture
def replayed(tmp_path: Path) -> Callable[..., tuple[SessionBatch, Summary]]:
    def replay_text(text: str | bytes, ended_at: int = ns(2026, 3, 2, 12)) -> tuple[SessionBatch, Summary]:
        replay = open_recording(write(tmp_path / "recording.csv", text, ended_at))
        batch = read_all(replay)
        assert len(replay.summary.reasons) == min(replay.summary.unreadable, REASONS_KEPT)
        assert replay.summary.sessions == len(batch)
        return batch, replay.summary

    return replay_text


Replayed = Callable[..., tuple[SessionBatch, Summary]]


def addresses(batch: SessionBatch, column: str) -> list[str]:
    packed = (IPv6Address(row.tobytes()) for row in batch[column])
    return [f"mapped {address.ipv4_mapped}" if address.ipv4_mapped else str(address) for address in packed]


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
    for column, unknown in (
        ("handshake", UNKNOWN_TIME),
        ("uid", UNKNOWN),
        ("rtt_smoothed", UNKNOWN),
        ("rtt_min", UNKNOWN),
        ("retransmits", 0),
        ("error", 0),
        ("role", 0),
        ("owner_source", 0),
        ("close_reason", 0),
        ("executable", b""),
    ):
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


def test_many_rows_come_in_several_batches(tmp_path: Path) -> None:
    rows = [ROW.replace("7335", str(pid)) for pid in range(20_000)]
    replay = open_recording(write(tmp_path / "long.csv", "\n".join([HEADER, *rows, ""])))
    first = replay.read()
    assert 1000 < len(first) < 10_000
    pids = [*first["pid"].tolist(), *read_all(replay)["pid"].tolist()]
    assert pids == list(range(20_000))


def test_what_is_written_after_the_opening_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "growing.csv", f"{HEADER}\n{ROW}\n")
    replay = open_recording(path)
    with open(path, "a") as file:
        file.write(f"TIME,{HEADER}\n11:00:00,{ROW}\n")
    assert len(read_all(replay)) == 1


# Time


def closed_at(replayed: Replayed, header: str, times: list[str], ended_at: int) -> list[int]:
    text = "\n".join([f"{header},LADDR,LPORT,RADDR,RPORT,MS", *(f"{at},{TIMED_ROW}" for at in times), ""])
    return replayed(text, ended_at)[0]["closed_at"].tolist()


def test_time_of_day_is_dated_by_the_end_of_the_file(replayed: Replayed) -> None:
    times = ["09:00:00", "09:00:01"]
    assert hms(closed_at(replayed, "TIME", times, ns(2026, 3, 2, 9, 0, 1))) == ["02 09:00:00", "02 09:00:01"]
    assert hms(closed_at(replayed, "TIME", times, ns(2026, 3, 2, 9, 0, 0))) == ["01 09:00:00", "01 09:00:01"]


def test_midnights_are_counted_back_from_the_end(replayed: Replayed) -> None:
    times = ["22:00:00", "00:30:00", "23:00:00", "09:00:00", "08:59:58", "05:00:00"]
    assert hms(closed_at(replayed, "TIME", times, ns(2026, 3, 9, 12))) == [
        "06 22:00:00",
        "07 00:30:00",
        "07 23:00:00",
        "08 09:00:00",
        "08 08:59:58",
        "09 05:00:00",
    ]


def test_lines_out_of_order_around_midnight(replayed: Replayed) -> None:
    times = ["00:00:00", "23:59:59", "00:00:01"]
    assert hms(closed_at(replayed, "TIME", times, ns(2026, 3, 9, 12))) == ["09 00:00:00", "08 23:59:59", "09 00:00:01"]


def test_quiet_days_are_seen_in_the_seconds(replayed: Replayed) -> None:
    times = ["10:00:00,0.000000", f"11:00:00,{3600 + 3 * 86400}.000000", f"10:30:00,{1800 + 4 * 86400}.000000"]
    assert hms(closed_at(replayed, "TIME,TIME(s)", times, ns(2026, 3, 9, 12))) == [
        "05 10:00:00",
        "08 11:00:00",
        "09 10:30:00",
    ]


def test_time_of_day_rules_where_the_seconds_missed_a_suspend(replayed: Replayed) -> None:
    times = ["08:00:00,0.000000", "08:00:01,1.250000", "22:00:00,2.000000", "22:00:01,3.250000"]
    found = closed_at(replayed, "TIME,TIME(s)", times, ns(2026, 3, 9, 23))
    assert hms(found) == ["09 08:00:00", "09 08:00:01", "09 22:00:00", "09 22:00:01"]


def test_the_hour_that_daylight_saving_time_repeats(replayed: Replayed) -> None:
    times = ["01:30:00", "02:30:00", "02:59:59", "02:00:01", "02:30:00", "03:00:00"]
    assert closed_at(replayed, "TIME", times, ns(2026, 10, 25, 12)) == [
        ns(2026, 10, 25, 1, 30),
        ns(2026, 10, 25, 2, 30),
        ns(2026, 10, 25, 2, 59, 59),
        ns(2026, 10, 25, 2, 0, 1, fold=1),
        ns(2026, 10, 25, 2, 30, fold=1),
        ns(2026, 10, 25, 3),
    ]


def test_the_hour_that_daylight_saving_time_skips(replayed: Replayed) -> None:
    times = ["23:00:00", "01:59:59", "03:00:00"]
    found = closed_at(replayed, "TIME", times, ns(2026, 3, 29, 12))
    assert found == [ns(2026, 3, 28, 23), ns(2026, 3, 29, 1, 59, 59), ns(2026, 3, 29, 3)]
    assert found[2] - found[1] == 10**9


def test_seconds_alone_end_with_the_file(replayed: Replayed) -> None:
    ended_at = ns(2026, 3, 9, 12) + 123
    found = closed_at(replayed, "TIME(s)", ["0.000000", "-0.000012", "90000.500000"], ended_at)
    assert [at - ended_at for at in found] == [-90_000_500_000_000, -90_000_500_012_000, 0]


def test_without_time_columns_the_time_is_unknown(replayed: Replayed) -> None:
    assert replayed(f"{HEADER}\n{ROW}\n")[0]["closed_at"].tolist() == [0]


@pytest.mark.parametrize("header", ["TIME", "TIME,TIME(s)", "TIME(s)"])
def test_a_time_that_cannot_be_is_unknown(replayed: Replayed, header: str) -> None:
    fields = {"TIME": "{tod}", "TIME,TIME(s)": "{tod},9999999999.0", "TIME(s)": "9999999999.0"}[header]
    times = [fields.format(tod=tod) for tod in ["12:00:00", "06:00:00"] * 3]
    assert closed_at(replayed, header, times, 0)[0] == 0


def test_recordings_in_one_file_follow_one_another(replayed: Replayed) -> None:
    ends = "LADDR,LPORT,RADDR,RPORT,MS"
    batch, summary = replayed(
        f"TIME,{ends}\n22:00:00,{TIMED_ROW}\n01:00:00,{TIMED_ROW}\n"
        f"{ends}\n{TIMED_ROW}\n"
        f"TIME(s),{ends}\n0.000000,{TIMED_ROW}\n7200.000000,{TIMED_ROW}\n"
        f"TIME,TIME(s),{ends}\n00:30:00,0.000000,{TIMED_ROW}\n",
        ns(2026, 3, 9, 12),
    )
    assert (len(batch), summary.lines, summary.unreadable) == (6, 10, 0)
    times: list[int] = batch["closed_at"].tolist()
    assert times[2] == 0
    assert hms(times[:2] + times[3:]) == ["07 22:00:00", "08 01:00:00", "08 22:30:00", "09 00:30:00", "09 00:30:00"]


# What is no recording


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
        open_recording(path)
    assert str(raised.value).startswith(path)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    path = tmp_path / "missing.csv"
    with pytest.raises(BadUsage, match=r"^cannot read .*missing.csv: No such file or directory; give --replay a file"):
        open_recording(str(path))
    with pytest.raises(BadUsage, match=r"^cannot read .*: Is a directory; give --replay a file"):
        open_recording(str(tmp_path))


# Streams


@pytest.fixture
def stdin_pipe() -> Iterator[int]:
    """The end to write to of a pipe that is standard input; the test closes it."""
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(kept, 0)
    os.close(kept)


def test_rows_come_before_the_stream_ends(stdin_pipe: int) -> None:
    replay = open_recording("-")
    assert len(replay.read()) == 0
    os.write(stdin_pipe, f"{HEADER}\n{ROW}\n{ROW[:20]}".encode())
    assert len(replay.read()) == 1
    assert len(replay.read()) == 0
    os.write(stdin_pipe, f"{ROW[20:]}\n".encode())
    assert replay.read()["comm"].tolist() == [b"curl"]
    assert not replay.ended
    os.write(stdin_pipe, ROW.encode())
    os.close(stdin_pipe)
    assert len(read_all(replay)) == 1
    assert replay.ended
    assert replay.summary == Summary(lines=4, sessions=3)


def test_times_of_a_stream(stdin_pipe: int) -> None:
    now = time.time_ns()
    second = now // 10**9
    soon, later, yesterday = (
        time.strftime("%H:%M:%S", time.localtime(second + ahead)) for ahead in (30, 300, 10 - 86400 // 2)
    )
    rows = [f"{soon},{TIMED_ROW}", f"{later},{TIMED_ROW}", f"{yesterday},{TIMED_ROW}"]
    os.write(stdin_pipe, "\n".join(["TIME,LADDR,LPORT,RADDR,RPORT,MS", *rows, ""]).encode())
    replay = open_recording("-")
    times: list[int] = replay.read()["closed_at"].tolist()
    assert times[0] == (second + 30) * 10**9
    assert -86_400 - 3600 <= times[1] // 10**9 - second <= 300 - 82_800
    assert times[2] == (second + 10 - 43_200) * 10**9

    rows = [f"5.000000,{TIMED_ROW}", f"7.500000,{TIMED_ROW}"]
    os.write(stdin_pipe, "\n".join(["TIME(s),LADDR,LPORT,RADDR,RPORT,MS", *rows, ""]).encode())
    batch = replay.read()
    assert batch["closed_at"][0] == batch["observed_at"][0]
    assert batch["closed_at"][1] - batch["closed_at"][0] == 2_500_000_000
    assert now <= batch["closed_at"][0] <= time.time_ns()
    os.close(stdin_pipe)
    assert len(read_all(replay)) == 0


@pytest.mark.parametrize(("text", "told"), [("", "empty"), ("usage: tcplife\n", "the first line is 'usage: tcplife'")])
def test_no_recording_in_a_stream(stdin_pipe: int, text: str, told: str) -> None:
    os.write(stdin_pipe, text.encode())
    os.close(stdin_pipe)
    replay = open_recording("-")
    with pytest.raises(BadUsage, match=f"^standard input is .*{told}"):
        read_all(replay)
    replay.close()


def test_a_named_pipe_waits_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    replay = open_recording(str(path))
    assert (len(replay.read()), replay.ended) == (0, False)
    writing = os.open(path, os.O_WRONLY)
    os.write(writing, f"{HEADER}\n{ROW}\n".encode())
    os.close(writing)
    assert len(read_all(replay)) == 1


def test_a_file_as_standard_input_is_read_from_where_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "recording.csv", f"skipped\nTIME,{HEADER}\n11:00:00,{ROW}\n", ns(2026, 3, 2, 12))
    kept = os.dup(0)
    with open(path, "rb", buffering=0) as file:
        file.read(len("skipped\n"))
        os.dup2(file.fileno(), 0)
    try:
        batch = read_all(open_recording("-"))
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert batch["closed_at"].tolist() == [ns(2026, 3, 2, 11)]


# Round trip

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
    replay = open_recording(path)
    found = read_all(replay)

    assert replay.summary == Summary(lines=1 + len(sessions), sessions=len(sessions))
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
