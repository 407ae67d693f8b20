"""What all others on this host do meanwhile, by the kernel's own books: it bounds how a count of all sessions moves."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_tcplife.probe.live import LiveSource
from tests.support.proc_net import IN_SESSION, Socket, State, sockets, tcp_counters


@dataclass(frozen=True)
class Others:
    """The sessions of all network namespaces but one."""

    sessions: frozenset[tuple[int, str, str, int]]
    """Those that are open: namespace, both ends, inode."""
    connecting: int
    """Connects that may still become sessions."""
    opened: Mapping[int, int]
    """How many were ever opened in each namespace, connects that failed included."""


@dataclass(frozen=True)
class Active:
    """The number of active sessions, with what there was of others right before and after it was read."""

    count: int
    before: Others
    after: Others


def read_active(source: LiveSource, own: int) -> Active:
    """Read it; the sessions of the namespace with this inode are the test's own."""
    before = others(own)
    count = source.stats().active
    return Active(count, before, others(own))


class ActiveSince:
    """How the number of active sessions moves from when this is made, in the namespace with this inode."""

    def __init__(self, source: LiveSource, own: int) -> None:
        self._source, self._own = source, own
        self.first = read_active(source, own)

    def moved_by(self, ends: int) -> bool:
        """Whether so many ends of sessions more are open there, as far as can be told beside those of others."""
        now = read_active(self._source, self._own)
        return now.count - self.first.count - ends in change(self.first, now)


def most(before: Others, after: Others) -> int:
    """How many sessions and connects of others there can have been at any one time between."""
    return len(before.sessions | after.sessions) + before.connecting + _opened(before, after)


def change(first: Active, second: Active) -> range:
    """By what the sessions of others can have changed the number of active ones: on a quiet host, by 0 alone."""
    maybe_there = first.before.sessions | first.after.sessions
    stayed = first.before.sessions & first.after.sessions & second.before.sessions & second.after.sessions
    gone = len(maybe_there) - len(stayed) + _opened(first.before, first.after)
    come = first.before.connecting + _opened(first.before, second.after)
    return range(-gone, come + 1)


def _opened(before: Others, after: Others) -> int:
    return sum(max(count - before.opened.get(namespace, 0), 0) for namespace, count in after.opened.items())


def others(own: int) -> Others:
    """Those that are not in the namespace with this inode, as they are now."""
    sessions: set[tuple[int, str, str, int]] = set()
    connecting = 0
    opened: dict[int, int] = {}
    for namespace, processes in _namespaces().items():
        if namespace == own:
            continue
        for process in processes:
            with contextlib.suppress(OSError):  # it has ended
                found = sockets(process)
                opened[namespace] = _ever_opened(process)
                sessions.update(_key(namespace, each) for each in found if each.state in IN_SESSION)
                connecting += sum(each.state is State.SYN_SENT for each in found)
                break
    return Others(frozenset(sessions), connecting, opened)


def _key(namespace: int, of: Socket) -> tuple[int, str, str, int]:
    return namespace, of.local, of.peer, of.inode


def _namespaces() -> dict[int, list[Path]]:
    """The processes of each network namespace that has any."""
    found: dict[int, list[Path]] = {}
    for process in [Path("/proc/self"), *Path("/proc").glob("[0-9]*")]:
        with contextlib.suppress(OSError):
            found.setdefault((process / "ns/net").stat().st_ino, []).append(process)
    return found


def _ever_opened(process: Path) -> int:
    counters = tcp_counters(process)
    return counters["ActiveOpens"] + counters["PassiveOpens"]
