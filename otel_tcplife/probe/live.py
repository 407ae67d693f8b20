"""The live source: sessions from the running kernel."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np

from otel_tcplife.errors import CannotTrace
from otel_tcplife.options import Filters, Sizes
from otel_tcplife.probe.attach import attach
from otel_tcplife.probe.btf import BtfError, read_kernel_btf
from otel_tcplife.probe.clock import to_wall_time
from otel_tcplife.probe.counters import Counter, Counters
from otel_tcplife.probe.program import program_text
from otel_tcplife.probe.requirements import BTF_KERNEL, check_kernel, check_privileges
from otel_tcplife.probe.ring import Ring
from otel_tcplife.probe.unclaimed import take_unclaimed
from otel_tcplife.session import SESSION, SessionBatch

UNCLAIMED_PATIENCE = 60.0
"""Seconds that a session waits for its process to close the descriptor, before it is reported without an owner."""

_SWEEP_INTERVAL = 10.0


class LiveSource:
    """A running trace of this host's TCP sessions. One thread reads it."""

    def __init__(self, filters: Filters, sizes: Sizes) -> None:
        """Start tracing. Raise CannotTrace, with the reason and the remedy, where that cannot be."""
        for check in (check_kernel(), check_privileges()):
            if not check.ok:
                raise CannotTrace(check.found, check.remedy)
        cpus = possible_cpus()
        try:
            program = program_text(read_kernel_btf(), filters, sizes, cpus=cpus)
        except BtfError as error:
            raise CannotTrace(str(error), BTF_KERNEL) from error
        self._attached = attach(program)
        self._ring = Ring(self._attached.ring, sizes.ring_bytes)
        self._counters = Counters(self._attached.counters, cpus)
        self._wants_owner = filters.pid is not None
        self._ownerless = 0
        self._filtered_ownerless = 0
        self._next_sweep = time.monotonic() + _SWEEP_INTERVAL
        self.fill = 0.0
        """How full the ring was when it was last read, 0 to 1."""

    def read(self) -> SessionBatch:
        """The sessions that ended since the last call, in Unix time; may be none. Does not wait."""
        batch, self.fill = self._ring.read()
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + _SWEEP_INTERVAL
            batch = np.concatenate([batch, self._sweep(UNCLAIMED_PATIENCE)])
        if len(batch):
            to_wall_time(batch)
        return batch

    def drain(self) -> SessionBatch:
        """End tracing and return all sessions not read yet, those still waiting for their owner included."""
        self._attached.detach()
        batch, self.fill = self._ring.read()
        batch = np.concatenate([batch, self._sweep(0)])
        to_wall_time(batch)
        return batch

    def counts(self) -> dict[Counter, int]:
        """The loss balance since the start: SEEN is the sum of the outcomes and of the sessions that still wait."""
        counts = self._counters.read()
        counts[Counter.SUBMITTED] += self._ownerless
        counts[Counter.FILTERED] += self._filtered_ownerless
        return counts

    def close(self) -> None:
        """End tracing and leave nothing in the kernel."""
        self._attached.close()

    def _sweep(self, patience: float) -> SessionBatch:
        taken = take_unclaimed(self._attached.unclaimed, patience)
        if self._wants_owner:
            self._filtered_ownerless += len(taken)
            return np.zeros(0, SESSION)
        self._ownerless += len(taken)
        return taken


def possible_cpus() -> int:
    """How many CPUs the kernel may ever bring up: numbers in BPF arrays go up to that."""
    try:
        ranges = Path("/sys/devices/system/cpu/possible").read_text()
    except OSError:
        return os.cpu_count() or 1
    return int(re.findall(r"\d+", ranges)[-1]) + 1
