"""Where sessions come from: the running kernel, or a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from otel_tcplife.host import Host
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.session import SessionBatch


@dataclass(frozen=True)
class Stats:
    """The balance of a source so far."""

    outcomes: Mapping[str, int]
    """Sessions by `tcplife.outcome`; those under `submitted` have been or can be read."""
    seen: int
    """Sessions seen to end: after drain(), the sum of the outcomes."""
    active: int = 0
    """Sessions that are open and followed now."""
    reports: int = 0
    """Interim reports, of sessions that had not ended."""
    missed: int = 0
    """State changes that were not seen when they came."""
    untraced: int = 0
    """Processes whose sessions are not seen, for want of room."""


class Source(Protocol):
    """Sessions in batches, read by one thread."""

    def read(self) -> SessionBatch:
        """The sessions that have come since the last call, in Unix time; may be none."""
        ...

    def wait(self, deadline: Deadline) -> None:
        """Wait until it is time for the next read, or until the deadline is set."""
        ...

    @property
    def host(self) -> Host:
        """What is known of the host whose sessions these are."""
        ...

    @property
    def can_wait(self) -> bool:
        """Whether it loses nothing when it is not read for a while: a recording, as opposed to the kernel."""
        ...

    @property
    def wants_scan(self) -> bool:
        """Whether it is time for interim reports, which a scan makes."""
        ...

    def open_sessions(self) -> Iterator[SessionBatch]:
        """The sessions that go on, each with what scans before have counted of it; the last batch may be empty.

        All of them have to be taken: they are counted then. No batch at all where it is too soon for a scan.
        """
        ...

    ended: bool
    """Whether no more sessions will ever come."""

    def drain(self) -> SessionBatch:
        """Take no more in, and return all that were not read yet."""
        ...

    def stats(self) -> Stats:
        """The balance so far."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...
