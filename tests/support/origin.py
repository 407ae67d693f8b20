"""Where a process comes from, as /proc shows it while it lives: its parent, and when it was created."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_TICK = 10**9 // os.sysconf("SC_CLK_TCK")

_CLOCK_STEP = 50_000_000
"""ns by which the wall clock may be adjusted while a test runs."""


@dataclass(frozen=True)
class Origin:
    """That of one process."""

    parent_pid: int
    created: tuple[int, int]
    """Unix ns within which it was created: /proc has it in ticks since the host was booted."""

    @classmethod
    def of(cls, pid: int) -> Origin:
        """That of a process that lives."""
        # Behind the name, which may have spaces and parentheses, from the third field on (proc_pid_stat(5))
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        created = _booted_at() + int(fields[19]) * _TICK
        return cls(int(fields[1]), (created - _CLOCK_STEP, created + _TICK + _CLOCK_STEP))


def _booted_at() -> int:
    """When CLOCK_BOOTTIME was 0, in Unix ns, as it is measured where nothing holds this process up meanwhile."""
    clocks = ((_boot_clock(), time.time_ns(), _boot_clock()) for _ in range(10))
    before, wall, after = min(clocks, key=lambda read: read[2] - read[0])
    return wall - (before + after) // 2


def _boot_clock() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def unix_ns(iso_8601: str) -> int:
    """A time as `process.creation.time` has it. Raise ValueError where it is written otherwise."""
    since = datetime.strptime(iso_8601, "%Y-%m-%dT%H:%M:%S.%fZ") - datetime(1970, 1, 1)
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
