"""The live source: sessions from the running kernel."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from otel_tcplife import forks
from otel_tcplife.errors import CannotTrace
from otel_tcplife.options import Filters, Scope, Sizes
from otel_tcplife.probe import bpf
from otel_tcplife.probe.awaiting_owner import take_ownerless
from otel_tcplife.probe.btf import BtfError, read_kernel_btf
from otel_tcplife.probe.cgroups import Cgroups
from otel_tcplife.probe.clock import KernelClock
from otel_tcplife.probe.counters import Counter, Counters
from otel_tcplife.probe.diagnosis import remedy_of
from otel_tcplife.probe.loader import load
from otel_tcplife.probe.program import SCAN_TARGET, program_text
from otel_tcplife.probe.requirements import btf_remedy, unmet
from otel_tcplife.probe.ring import Ring
from otel_tcplife.session import SessionBatch, concatenated, empty

UNCLAIMED_PATIENCE = 60.0
"""Seconds that a session waits for its process to close the descriptor, before it is reported without an owner."""

POLL_INTERVAL = 0.05
"""Seconds between two reads of the ring, while it does not fill up faster."""

_SWEEP_INTERVAL = 10.0

_LAST_RECORDS_WITHIN = 0.5
"""Seconds that a record that is still being written is waited for when tracing has ended."""

_OUTCOMES = (Counter.SUBMITTED, Counter.FILTERED, Counter.RING_FULL, Counter.MAP_FULL, Counter.NOT_FOLLOWED)


class LiveSource:
    """A running trace of this host's TCP sessions. One thread reads it."""

    def __init__(
        self,
        filters: Filters,
        sizes: Sizes,
        interim: float = 0,
        scope: Scope = Scope.HOST,
        *,
        hide_tracer: bool = True,
        begin: bool = True,
    ) -> None:
        """Start tracing, with interim reports after so many seconds if not 0; without `begin`, be about to.

        `hide_tracer` leaves out the connections of this process, those of an agent that exports what it finds.
        Raise CannotTrace, with the reason and the remedy, where that cannot be.
        """
        with _refusals_explained():
            self._prepare(filters, sizes, interim, scope, hide_tracer=hide_tracer)
            if begin:
                self.take()
                self.begin()

    def _prepare(self, filters: Filters, sizes: Sizes, interim: float, scope: Scope, *, hide_tracer: bool) -> None:
        """Load the program, and be about to read."""
        for check in unmet():
            raise CannotTrace(check.found, check.remedy)
        cpus = possible_cpus()
        try:
            btf = read_kernel_btf()
            program = program_text(btf, filters, sizes, scope, interim=interim, hide_tracer=hide_tracer, cpus=cpus)
            scan_target = btf.function_id(SCAN_TARGET)
        except BtfError as error:
            raise CannotTrace(str(error), btf_remedy()) from error
        self._loaded = load(program, scope, scan_target)
        self._ring_bytes, self._cpus = sizes.ring_bytes, cpus
        self._clock = KernelClock()
        self._cgroups = Cgroups()
        self._wants_owner = filters.pid is not None
        self._scope = scope
        self._ownerless = 0
        self._filtered_ownerless = 0
        self._may_not_sweep = False
        self._unclaimed = 0
        """Sessions whose process has not closed the descriptor, so that it is not known whether they are ours, or
        that could not be read any more."""
        self._next_sweep = time.monotonic() + _SWEEP_INTERVAL
        # A report comes a quarter late at most
        self._scan_interval = interim / 4 or float("inf")
        self._next_scan = time.monotonic() + self._scan_interval
        self.pause = POLL_INTERVAL
        """Seconds to wait before the next read."""
        self.can_wait = False
        self.ended = False
        """Never, by itself."""

    def take(self) -> None:
        """Own the program, which is closed from now on. Raise CannotTrace."""
        with _refusals_explained():
            self._attached = self._loaded.take()

    def begin(self) -> None:
        """Follow the sessions of this process, or of the host, from now on. Quick, as take() is. Raise CannotTrace."""
        try:
            with _refusals_explained():
                bpf.run_iterator(self._attached.scan)
                self._cgroups.map_fd = self._attached.cgroup_paths
                self._ring = Ring(self._attached.ring, self._ring_bytes)
                self._counters = Counters(self._attached.counters, self._cpus)
        except BaseException:
            self._attached.close()
            raise

    @forks.held_off()  # in a child, what is half read could not be given up
    def read(self) -> SessionBatch:
        """The sessions that ended since the last call, in Unix time; may be none. Does not wait."""
        if time.monotonic() >= self._next_scan:
            self._next_scan = time.monotonic() + self._scan_interval
            with suppress(PermissionError):
                bpf.run_iterator(self._attached.scan)
        batch, fill = self._ring.read()
        # So long that a tenth of the ring fills up, if sessions go on coming as fast
        self.pause = min(POLL_INTERVAL, self.pause * 0.1 / fill) if fill else POLL_INTERVAL
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + _SWEEP_INTERVAL
            batch = concatenated([batch, self._sweep(UNCLAIMED_PATIENCE)])
        return self._complete(batch)

    def drain(self) -> SessionBatch:
        """End tracing and return all sessions not read yet, those still waiting for their owner included."""
        self._attached.detach()
        bpf.wait_for_programs()
        with forks.held_off():
            batch = self._ring.read_rest(_LAST_RECORDS_WITHIN)
        batch = concatenated([batch, self._sweep(0)])
        if self._may_not_sweep:
            self._unclaimed += self.seen() - sum(self.outcomes().values())
        return self._complete(batch)

    def outcomes(self) -> dict[str, int]:
        """The loss balance since the start: sessions seen to end, by what became of them in the kernel."""
        counts = self._counters.read()
        counts[Counter.SUBMITTED] += self._ownerless
        counts[Counter.FILTERED] += self._filtered_ownerless
        return {**{outcome.name.lower(): counts[outcome] for outcome in _OUTCOMES}, "unclaimed": self._unclaimed}

    @property
    def host_map(self) -> int | None:
        """Descriptor of the map that tells others that the whole host is traced, where it is."""
        return self._attached.host

    def seen(self) -> int:
        """Sessions and connects seen to end: the sum of the outcomes, and those that still wait for their owner."""
        return self._counters.read()[Counter.SEEN]

    def reports(self) -> int:
        """Interim reports so far."""
        return self._counters.read()[Counter.REPORTED]

    def missed(self) -> int:
        """State changes that were not seen when they came: the kernel runs no program within itself, nor everywhere.

        What is known only from them is unknown, and nothing else is: see infer_missed_states() in bpf/ending.h.
        """
        return self._counters.read()[Counter.MISSED]

    def active(self) -> int:
        """Sessions that are open and followed now."""
        counts = self._counters.read()
        return counts[Counter.OPENED] - counts[Counter.CLOSED]

    def close(self) -> None:
        """End tracing and leave nothing in the kernel."""
        self._attached.close()

    def abandon(self) -> None:
        """Leave all to the process that this one was forked by: give up whatever of it is open here, too."""
        self.close()
        self._ring.unmap()
        self._counters.unmap()

    def _complete(self, batch: SessionBatch) -> SessionBatch:
        """Add what user space knows."""
        if len(batch):
            self._clock.to_wall_time(batch)
            self._cgroups.learn(batch)
        return batch

    def _sweep(self, patience: float) -> SessionBatch:
        try:
            taken = take_ownerless(self._attached.awaiting_owner, self._clock.now() - int(patience * 1e9))
        except PermissionError:  # an application may have given up its privileges since it began
            self._may_not_sweep = True
            return empty(0)
        if self._scope is Scope.PROCESS:
            self._unclaimed += len(taken)
            return empty(0)
        if self._wants_owner:
            self._filtered_ownerless += len(taken)
            return empty(0)
        self._ownerless += len(taken)
        return taken


@contextmanager
def _refusals_explained() -> Generator[None]:
    """What the system refuses, such as more memory, as a CannotTrace with what mends it."""
    try:
        yield
    except (OSError, MemoryError) as error:
        problem = str(getattr(error, "strerror", None) or error or "out of memory")
        raise CannotTrace(problem, remedy_of(problem)) from error


def possible_cpus() -> int:
    """How many CPUs the kernel may ever bring up: numbers in BPF arrays go up to that."""
    try:
        ranges = Path("/sys/devices/system/cpu/possible").read_text()
    except OSError:
        return os.cpu_count() or 1
    return int(re.findall(r"\d+", ranges)[-1]) + 1
