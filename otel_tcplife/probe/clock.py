"""Kernel time becomes wall time here, and nowhere else."""

from __future__ import annotations

import time

import numpy as np

from otel_tcplife.session import SessionBatch


def to_wall_time(batch: SessionBatch) -> None:
    """Turn closed_at of a batch just read from CLOCK_MONOTONIC to Unix ns, in place, and fill in observed_at.

    The distance of the two clocks is taken anew each time, so that a step of the wall clock shifts no later session.
    """
    monotonic = time.monotonic_ns()
    wall = time.time_ns()
    batch["closed_at"] += np.uint64(wall - monotonic)
    batch["observed_at"] = wall
