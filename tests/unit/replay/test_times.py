"""The sessions of a recording closed when they did."""

from __future__ import annotations

import os
import time

import pytest

from tests.unit.replay.reading import HEADER, ROW, Replayed, hms, ns, opened, read_all

TIMED_ROW = "0.0.0.0,1,0.0.0.0,2,0.00"


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


def test_times_of_a_stream(stdin_pipe: int) -> None:
    now = time.time_ns()
    second = now // 10**9
    soon, later, yesterday = (
        time.strftime("%H:%M:%S", time.localtime(second + ahead)) for ahead in (30, 300, 10 - 86400 // 2)
    )
    rows = [f"{soon},{TIMED_ROW}", f"{later},{TIMED_ROW}", f"{yesterday},{TIMED_ROW}"]
    os.write(stdin_pipe, "\n".join(["TIME,LADDR,LPORT,RADDR,RPORT,MS", *rows, ""]).encode())
    source = opened("-")
    times: list[int] = source.read()["closed_at"].tolist()
    assert times[0] == (second + 30) * 10**9
    assert -86_400 - 3600 <= times[1] // 10**9 - second <= 300 - 82_800
    assert times[2] == (second + 10 - 43_200) * 10**9

    rows = [f"5.000000,{TIMED_ROW}", f"7.500000,{TIMED_ROW}"]
    os.write(stdin_pipe, "\n".join(["TIME(s),LADDR,LPORT,RADDR,RPORT,MS", *rows, ""]).encode())
    batch = source.read()
    assert batch["closed_at"][0] == batch["observed_at"][0]
    assert batch["closed_at"][1] - batch["closed_at"][0] == 2_500_000_000
    assert now <= batch["closed_at"][0] <= time.time_ns()
    os.close(stdin_pipe)
    assert len(read_all(source)) == 0
