"""Kernel time becomes wall time here, and nowhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from otel_tcplife.session import SessionBatch

_PROCESS = Path("/proc/self")

_SMALLEST_STEP = 1_000_000
"""ns by which the wall clock must have been set for processes to have been created at another time."""

_HELD_UP = 50_000
"""ns that reading a clock takes only where something else runs meanwhile."""
_MOST_TRIES = 4
"""More than the first one."""


class KernelClock:
    """The clocks of the kernel: CLOCK_MONOTONIC, bpf_ktime_get_ns(), and CLOCK_BOOTTIME, of when processes began.

    Both are those of the host, which another time namespace shifts.
    """

    def __init__(self, process: Path = _PROCESS) -> None:
        """Find out by how much this process's own clocks differ."""
        offsets = _offsets(process)
        self._offset = offsets["monotonic"]
        self._boot_offset = offsets["boottime"]
        self._booted_at, _ = self._boot()

    def now(self) -> int:
        """The kernel's time, in ns."""
        return time.monotonic_ns() - self._offset

    def to_wall_time(self, batch: SessionBatch) -> None:
        """Turn closed_at and created_at of a batch just read from the kernel's time to Unix ns, in place, and fill in
        observed_at.

        The distance of the clocks is taken anew each time, so that a step of the wall clock shifts no later session. A
        time before 1970, which OTLP cannot say, becomes 0: unknown.
        """
        ahead, _ = _distance(time.monotonic_ns)
        closed_at = batch["closed_at"].astype(np.int64) + (ahead + self._offset)
        batch["closed_at"] = np.maximum(closed_at, 0)
        batch["observed_at"] = max(time.time_ns(), 0)
        created_at = batch["created_at"].astype(np.int64)
        since_1970 = np.maximum(created_at + self._boot_time(), 0)
        batch["created_at"] = np.where(created_at != 0, since_1970, 0)

    def _boot_time(self) -> int:
        """When CLOCK_BOOTTIME was 0, in Unix ns: the same until the wall clock is set, as creation times have to be."""
        booted_at, uncertainty = self._boot()
        if abs(booted_at - self._booted_at) > _SMALLEST_STEP + uncertainty:
            self._booted_at = booted_at
        return self._booted_at

    def _boot(self) -> tuple[int, int]:
        """The same as it can be measured now, and within how many ns that was done."""
        ahead, uncertainty = _distance(_boot_clock)
        return ahead + self._boot_offset, uncertainty


def _distance(clock: Callable[[], int]) -> tuple[int, int]:
    """By how many ns the wall clock is ahead of that one, and within how many ns that was found out.

    It is tried again where this process was held up between the two.
    """
    best = _distance_now(clock)
    for _ in range(_MOST_TRIES):
        if best[1] <= _HELD_UP:
            break
        best = min(best, _distance_now(clock), key=lambda measured: measured[1])
    return best


def _distance_now(clock: Callable[[], int]) -> tuple[int, int]:
    before, wall, after = clock(), time.time_ns(), clock()
    return wall - (before + after) // 2, after - before


def _boot_clock() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _offsets(process: Path) -> dict[str, int]:
    """By how many ns each clock of this process is ahead of the host's (time_namespaces(7))."""
    none = {"monotonic": 0, "boottime": 0}
    try:
        lines = (process / "timens_offsets").read_text().splitlines()
        # The offsets are those that children get: after unshare(2), the process itself stays where it was
        if os.readlink(process / "ns/time") != os.readlink(process / "ns/time_for_children"):
            return none
    except OSError:  # the kernel has no time namespaces
        return none
    clocks = {clock: (int(seconds), int(nanoseconds)) for clock, seconds, nanoseconds in map(str.split, lines)}
    return {clock: seconds * 10**9 + nanoseconds for clock, (seconds, nanoseconds) in clocks.items()}
