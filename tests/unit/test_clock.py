"""Kernel time to wall time, whatever the clocks of this process say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from otel_tcplife.probe.clock import KernelClock
from otel_tcplife.session import empty

_SECOND = 10**9


def _process(directory: Path, monotonic: str, *, unshared: bool = False) -> Path:
    """A directory such as /proc/self of a process in a time namespace."""
    (directory / "ns").mkdir()
    (directory / "timens_offsets").write_text(f"monotonic  {monotonic}\nboottime          77         0\n")
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
