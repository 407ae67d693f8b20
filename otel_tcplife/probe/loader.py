"""Get the BPF program into the kernel through the helper that has bcc, and own its descriptors."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from otel_tcplife.errors import CannotTrace
from otel_tcplife.options import Scope
from otel_tcplife.probe.diagnosis import remedy_of
from otel_tcplife.probe.host_collector import HOST_MAP
from otel_tcplife.probe.interpreters import NoBcc, bcc_interpreters, run_helper
from otel_tcplife.probe.program import SCAN
from otel_tcplife.probe.requirements import INSTALL_BCC

_MAPS = ("ring", "counters", "awaiting_owner", "cgroup_paths")
_HOST_MAPS = (*_MAPS, HOST_MAP)
_MOST_LINKS = 16


@dataclass
class Attached:
    """The descriptors of a loaded program: it traces as long as the links are open."""

    ring: int
    counters: int
    awaiting_owner: int
    cgroup_paths: int
    scan: int
    """The link of the iterator over open sockets."""
    host: int | None
    """The map that tells others that the whole host is traced."""
    links: list[int]

    def detach(self) -> None:
        """End tracing; the maps stay readable. Idempotent."""
        while self.links:
            os.close(self.links.pop())

    def close(self) -> None:
        """End tracing and give the maps up."""
        self.detach()
        for descriptor in (self.ring, self.counters, self.awaiting_owner, self.cgroup_paths, self.scan, self.host):
            if descriptor is not None:
                os.close(descriptor)


@dataclass
class Loaded:
    """A program that traces, whose descriptors are under way."""

    receiver: socket.socket
    maps: Sequence[str]

    def take(self) -> Attached:
        """Receive the descriptors. Quick, so that it can be done with forks held off. Raise OSError if it cannot."""
        with self.receiver:
            descriptors = _receive(self.receiver, len(self.maps) + _MOST_LINKS)
        (ring, counters, awaiting_owner, cgroup_paths, *host), (scan, *links) = (
            descriptors[: len(self.maps)],
            descriptors[len(self.maps) :],
        )
        return Attached(ring, counters, awaiting_owner, cgroup_paths, scan, host[0] if host else None, links)


def load(program: str, scope: Scope, scan_target: int) -> Loaded:
    """Compile, load and attach the program, whose iterator is of the kernel function with this BTF id.

    Each Python that may have bcc is tried in turn. Raise CannotTrace with the reasons of all of them, and what mends
    that, where none can do it.
    """
    maps = _HOST_MAPS if scope is Scope.HOST else _MAPS
    request = {"text": program, "maps": maps, "scan": SCAN, "scan_target": scan_target}
    reasons: list[str] = []
    for interpreter in bcc_interpreters():
        ours, helpers = _pair()
        with helpers:
            try:
                run_helper(interpreter, [str(helpers.fileno())], json.dumps(request).encode(), [helpers.fileno()])
                return Loaded(ours, maps)
            except NoBcc:
                ours.close()
            except CannotTrace as error:
                ours.close()
                reasons.append(f"{error.problem} (with {interpreter})")
            except BaseException:
                ours.close()
                raise
    if not reasons:
        raise CannotTrace("no Python with bcc found", INSTALL_BCC)
    problem = "; ".join(reasons)
    raise CannotTrace(f"the BPF program could not be loaded: {problem}", remedy_of(problem))


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets that are connected, none with the number of a standard descriptor that is closed."""
    ends = socket.socketpair()
    try:
        moved = [_above_standard_descriptors(end) for end in ends]
    finally:
        for end in ends:
            end.close()
    return moved[0], moved[1]


def _above_standard_descriptors(end: socket.socket) -> socket.socket:
    return socket.socket(fileno=fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def _receive(receiver: socket.socket, most: int) -> list[int]:
    """As socket.recv_fds(), which makes descriptors that children inherit, and heeds no flag."""
    _, ancillary, flags, _ = receiver.recvmsg(1, socket.CMSG_LEN(most * 4), socket.MSG_CMSG_CLOEXEC)
    descriptors = [int(each) for _, _, content in ancillary for each in memoryview(content).cast("i")]
    if flags & socket.MSG_CTRUNC or not descriptors:  # there was no room for all of them
        for descriptor in descriptors:
            os.close(descriptor)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return descriptors
