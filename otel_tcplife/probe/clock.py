"""Kernel time becomes wall time here, and nowhere else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from otel_tcplife.session import SessionBatch

_PROCESS = Path("/proc/self")


class KernelClock:
    """The clock of bpf_ktime_get_ns(): CLOCK_MONOTONIC of the host, which another time namespace shifts."""

    def __init__(self, process: Path = _PROCESS) -> None:
        """Find out by how much this process's own CLOCK_MONOTONIC differs."""
        self._offset = _monotonic_offset(process)

    def now(self) -> int:
        """The kernel's time, in ns."""
        return time.monotonic_ns() - self._offset

    def to_wall_time(self, batch: SessionBatch) -> None:
        """Turn closed_at of a batch just read from the kernel's time to Unix ns, in place, and fill in observed_at.

        The distance of the two clocks is taken anew each time, so that a step of the wall clock shifts no later
        session. A time before 1970, which OTLP cannot say, becomes 0: unknown.
        """
        now, wall = self.now(), time.time_ns()
        closed_at = batch["closed_at"].astype(np.int64) + (wall - now)
        batch["closed_at"] = np.maximum(closed_at, 0)
        batch["observed_at"] = max(wall, 0)


def _monotonic_offset(process: Path) -> int:
    """By how many ns CLOCK_MONOTONIC of this process is ahead of the host's (time_namespaces(7))."""
    try:
        lines = (process / "timens_offsets").read_text().splitlines()
        # The offsets are those that children get: after unshare(2), the process itself stays where it was
        if os.readlink(process / "ns/time") != os.readlink(process / "ns/time_for_children"):
            return 0
    except OSError:  # the kernel has no time namespaces
        return 0
    clocks = {clock: (int(seconds), int(nanoseconds)) for clock, seconds, nanoseconds in map(str.split, lines)}
    seconds, nanoseconds = clocks["monotonic"]
    return seconds * 10**9 + nanoseconds
