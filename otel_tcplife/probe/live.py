"""The live source: sessions from the running kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from otel_tcplife import forks
from otel_tcplife.host import Host
from otel_tcplife.networks import Networks
from otel_tcplife.options import Options, Scope
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.probe import bpf
from otel_tcplife.probe.awaiting_owner import take_ownerless
from otel_tcplife.probe.balance import Balance
from otel_tcplife.probe.clock import KernelClock
from otel_tcplife.probe.containers import Containers
from otel_tcplife.probe.counters import Counters
from otel_tcplife.probe.loader import AttachedProgram, attach_program, prepare_program, refusals_explained
from otel_tcplife.probe.pace import Pace
from otel_tcplife.probe.pinned import open_pinned
from otel_tcplife.probe.ring import Ring
from otel_tcplife.probe.scan import Scan
from otel_tcplife.session import SessionBatch, as_rows_of, concatenated, empty

UNCLAIMED_PATIENCE = 60.0
"""Seconds that a session waits for its process to close the descriptor, before it is reported without an owner."""

_SWEEP_INTERVAL = 10.0

_MOST_AT_ONCE, _MOST_AT_STOP = 16384, 2048
"""Sessions that are read at once of a program that stays, and of these after the end was asked for: what was read and
cannot be delivered is lost, and what is in the ring is not."""

_WAITS_UP_TO = 0.5
"""How full the ring may be while the queues have no room for what was in it at the start."""

_LAST_RECORDS_WITHIN = 0.5
"""Seconds that a record that is still being written is waited for when tracing has ended."""


def open_pinned_source(directory: str, options: Options) -> LiveSource:
    """Trace this host by a program that stays in the kernel, as open_pinned() and LiveSource do.

    Raise BadUsage and CannotTrace.
    """
    return LiveSource(open_pinned(Path(directory), options), options)


def open_live_source(options: Options, *, hide_tracer: bool = True, has_announcements: bool = False) -> LiveSource:
    """Load the program and trace, as prepare_program() and LiveSource do. Raise CannotTrace."""
    program = prepare_program(options, hide_tracer=hide_tracer, has_announcements=has_announcements)
    return LiveSource(attach_program(program), options)


class LiveSource:
    """A running trace of TCP sessions. One thread reads it."""

    ended = False
    """Never, by itself."""

    def __init__(
        self, attached: AttachedProgram, options: Options, *, is_begun: bool = False, in_application: bool = False
    ) -> None:
        """Own the program, and follow the sessions of this process, or of the host, from now on.

        `options` are what the program was loaded with; `is_begun` says that another process is the tracer, and has
        scanned; `in_application` that this process is an application's, see pace.py. Raise CannotTrace, with the reason
        and the remedy, where that cannot be; the program is closed then.
        """
        self._attached = attached
        self._scope = options.scope
        self._wants_owner = options.filters.pid is not None
        self._clock = KernelClock()
        self._may_not_sweep = False
        self._unclaimed = 0
        """Sessions whose process has not closed the descriptor, so that it is not known whether they are traced, or
        that could not be read any more."""
        self._next_sweep = time.monotonic() + _SWEEP_INTERVAL
        # A report comes a quarter late at most
        self._scan_interval = options.interim / 4 or float("inf")
        self._next_report = time.monotonic() + self._scan_interval
        self._stay = attached.stay
        try:
            with refusals_explained():
                self._scan = Scan(attached.scan)
                if not is_begun:
                    self._scan.begin()
                self._containers = Containers(attached.cgroup_paths)
                self.host = _host(self._containers, Networks(options.networks))
                self._ring = Ring(attached.ring, attached.ring_bytes, attached.row)
                self._balance = _balance(attached)
                room = attached.ring_bytes / attached.row.itemsize
                self._pace = Pace(attached.ring, room, in_application=in_application)
                self._backlog = self._ring.waiting if attached.stay else 0
        except BaseException:
            attached.close()
            raise

    @property
    def can_wait(self) -> bool:
        """Whether what the tracer before this one has left is not read yet, and can stay in the ring for a while."""
        return self._backlog > 0 and self._ring.fill < _WAITS_UP_TO

    @property
    def wants_scan(self) -> bool:
        """Whether it is time for interim reports, which a scan makes."""
        return time.monotonic() >= self._next_report

    def open_sessions(self) -> Iterator[SessionBatch]:
        """The sessions that go on, each with what scans before have counted of it; the last batch may be empty.

        All of them have to be taken: they are counted then. No batch at all where it is too soon for a scan.
        """
        self._next_report = time.monotonic() + self._scan_interval
        if self._scan.is_too_soon:
            return
        with forks.held_off():
            for batch in self._scan.run():
                self._containers.learn(batch)
                yield batch

    def wait(self, deadline: Deadline) -> None:
        """Wait until it is time for the next read, or until the deadline is set."""
        self._pace.wait(deadline)

    @property
    def pause(self) -> float:
        """Seconds to wait before the next read, for who cannot wait otherwise."""
        return self._pace.pause

    @forks.held_off()  # in a child, what is half read could not be given up
    def read(self) -> SessionBatch:
        """The sessions that ended since the last call, in Unix time; may be none. Does not wait."""
        batch, fill = self._ring.read(_MOST_AT_ONCE if self._attached.stay else None)
        if len(batch) or self._attached.stay:  # of a program that stays, also what is counted and not read
            self._balance.take(batch)
        self._backlog -= len(batch)
        self._pace.has_read(fill, self._ring.fill)
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + _SWEEP_INTERVAL
            batch = concatenated([batch, self._sweep(UNCLAIMED_PATIENCE)])
        return self._complete(self._after_unread(batch))

    def drain(self) -> SessionBatch:
        """End tracing and return all sessions not read yet, those still waiting for their owner included.

        A program that stays goes on: the next tracer has what it has not put into the ring by now, and, where there is
        so much that it may not be delivered before the end, what is in the ring.
        """
        if self._attached.stay:
            batch, _ = self._ring.read(_MOST_AT_STOP)
            self._balance.take(batch)
            return self._complete(self._after_unread(batch))
        self._attached.detach()
        bpf.wait_for_programs()
        with forks.held_off():
            batch = self._ring.read_rest(_LAST_RECORDS_WITHIN)
        batch = concatenated([batch, self._sweep(0)])
        if self._may_not_sweep:
            stats = self.stats()
            self._unclaimed += stats.seen - sum(stats.outcomes.values())
        return self._complete(batch)

    def stats(self) -> Stats:
        """The balance since the start."""
        return self._balance.stats(self._unclaimed)

    def close(self) -> None:
        """End tracing and leave nothing in the kernel, but a program that stays."""
        self._pace.close()
        self._attached.close()

    def abandon(self) -> None:
        """Leave all to the process that this one was forked by: give up whatever of it is open here, too."""
        self.close()
        self._ring.unmap()
        self._balance.unmap()

    def _after_unread(self, batch: SessionBatch) -> SessionBatch:
        """The batch, and before it, once, what the program before this one has left."""
        stay, self._stay = self._stay, None
        if not stay:
            return batch
        left = stay.left
        self._balance.take(left.unread)
        self._balance.take_ownerless(len(left.ownerless), filtered=self._wants_owner)
        ownerless = empty(0) if self._wants_owner else left.ownerless
        return concatenated([left.counted, left.unread, ownerless, batch])

    def _complete(self, batch: SessionBatch) -> SessionBatch:
        """Add what user space knows."""
        if len(batch):
            self._scan.settle(batch)
            self._clock.to_wall_time(batch)
            self._containers.learn(batch)
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
        self._balance.take_ownerless(len(taken), filtered=self._wants_owner)
        return empty(0) if self._wants_owner else as_rows_of(self._attached.row, taken)


def _host(containers: Containers, networks: Networks) -> Host:
    namespace = os.stat("/proc/self/ns/net").st_ino
    return Host(containers.entity_of, containers.cgroup_of, ephemeral_ports(), namespace, networks)


def _balance(attached: AttachedProgram) -> Balance:
    counters, stay = Counters(attached.counters, attached.cpus), attached.stay
    return Balance(counters, stay.taken, stay.left.balance) if stay else Balance(counters)


def ephemeral_ports() -> tuple[int, int]:
    """First and last port that the kernel chooses for a socket that asked for none."""
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return Host().ephemeral_ports
    return int(low), int(high)
