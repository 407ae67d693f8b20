"""Kernel time to wall time, whatever the clocks of this process say."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_tcplife.probe.clock import KernelClock
from otel_tcplife.session import empty

_SECOND = 10**9


def _process(directory: Path, monotonic: str, *, boottime: str = "77 0", unshared: bool = False) -> Path:
    """A directory such as /proc/self of a process in a time namespace."""
    (directory / "ns").mkdir()
    (directory / "timens_offsets").write_text(f"monotonic  {monotonic}\nboottime   {boottime}\n")
    (directory / "ns/time").symlink_to("time:[1]")
    (directory / "ns/time_for_children").symlink_to("time:[2]" if unshared else "time:[1]")
    return directory


@pytest.mark.parametrize(
    ("offset", "ahead"),
    [
        ("0         0", 0),
        ("86400 500000000", 86400 * _SECOND + _SECOND // 2),
        ("-10 500000000", -9 * _SECOND - _SECOND // 2),
    ],
)
def test_a_time_namespace_shifts_no_session(
    offset: str, ahead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1000 * _SECOND + ahead)
    monkeypatch.setattr(time, "time_ns", lambda: 5000 * _SECOND)
    clock = KernelClock(_process(tmp_path, offset))
    assert clock.now() == 1000 * _SECOND
    batch = empty(1)
    batch["closed_at"] = 999 * _SECOND
    clock.to_wall_time(batch)
    assert (batch["closed_at"].tolist(), batch["observed_at"].tolist()) == ([4999 * _SECOND], [5000 * _SECOND])


def _boot_clock(now: int, held_up: int = 0) -> Callable[[int], int]:
    """CLOCK_BOOTTIME, which goes on by so much each time that it is read."""
    values = itertools.count(now, held_up)

    def read(clock: int) -> int:
        assert clock == time.CLOCK_BOOTTIME
        return next(values)

    return read


@pytest.mark.parametrize(("offset", "ahead"), [("0 0", 0), ("-10 500000000", -9 * _SECOND - _SECOND // 2)])
def test_when_a_process_was_created(offset: str, ahead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock that goes on while the host is suspended; unknown stays so."""
    monkeypatch.setattr(time, "clock_gettime_ns", _boot_clock(3000 * _SECOND + ahead))
    monkeypatch.setattr(time, "time_ns", lambda: 5000 * _SECOND)
    clock = KernelClock(_process(tmp_path, "7 0", boottime=offset))
    batch = empty(2)
    batch["created_at"] = [100 * _SECOND, 0]
    clock.to_wall_time(batch)
    assert batch["created_at"].tolist() == [2100 * _SECOND, 0]


@pytest.mark.parametrize(("step", "later"), [(900_000, 0), (2_000_000, 2_000_000), (-_SECOND, -_SECOND)])
def test_a_process_was_created_once_unless_the_wall_clock_is_set(
    step: int, later: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "clock_gettime_ns", _boot_clock(3000 * _SECOND))
    monkeypatch.setattr(time, "time_ns", lambda: 5000 * _SECOND)
    clock = KernelClock(tmp_path)
    monkeypatch.setattr(time, "time_ns", lambda: 5000 * _SECOND + step)
    batch = empty(1)
    batch["created_at"] = 100 * _SECOND
    clock.to_wall_time(batch)
    assert batch["created_at"].tolist() == [2100 * _SECOND + later]


def test_that_it_was_held_up_while_it_read_the_clocks_is_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = KernelClock(tmp_path)
    before = empty(1)
    before["created_at"] = 1
    clock.to_wall_time(before)
    monkeypatch.setattr(time, "clock_gettime_ns", _boot_clock(3000 * _SECOND, held_up=_SECOND))
    monkeypatch.setattr(time, "time_ns", lambda: int(before["created_at"][0]) + 3000 * _SECOND)
    after = empty(1)
    after["created_at"] = 1
    clock.to_wall_time(after)
    assert after["created_at"] == before["created_at"]


def test_a_session_closed_when_it_did_though_reading_the_clocks_was_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = KernelClock(tmp_path)
    held_up = iter([1000 * _SECOND, 1003 * _SECOND])
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(held_up, 1003 * _SECOND))
    monkeypatch.setattr(time, "time_ns", lambda: 5003 * _SECOND)
    batch = empty(1)
    batch["closed_at"] = 999 * _SECOND
    clock.to_wall_time(batch)
    assert batch["closed_at"].tolist() == [4999 * _SECOND]


def test_a_process_that_made_a_time_namespace_for_its_children_is_not_in_it(tmp_path: Path) -> None:
    before = time.monotonic_ns()
    assert before <= KernelClock(_process(tmp_path, "500 0", unshared=True)).now() <= time.monotonic_ns()


def test_without_time_namespaces(tmp_path: Path) -> None:
    before = time.monotonic_ns()
    assert before <= KernelClock(tmp_path).now() <= time.monotonic_ns()


@pytest.mark.parametrize(
    ("wall", "closed_at", "observed_at"),
    [
        (2000 * _SECOND, [1900 * _SECOND, 1999 * _SECOND], 2000 * _SECOND),
        (50 * _SECOND, [0, 49 * _SECOND], 50 * _SECOND),
        (-50 * _SECOND, [0, 0], 0),
    ],
    ids=["after", "the first closed before 1970", "now is before 1970"],
)
def test_a_wall_clock_that_was_never_set(
    wall: int, closed_at: list[int], observed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a machine without a battery it may be any time since 1970, or before; what OTLP cannot say is unknown."""
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1000 * _SECOND)
    monkeypatch.setattr(time, "time_ns", lambda: wall)
    batch = empty(2)
    batch["closed_at"] = [900 * _SECOND, 999 * _SECOND]
    KernelClock(tmp_path).to_wall_time(batch)
    assert batch["closed_at"].tolist() == closed_at
    assert batch["observed_at"].tolist() == [observed_at] * 2
