"""Opens a recording, and reads it as batches of sessions."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from otel_tcplife.errors import BadUsage
from otel_tcplife.replay.dating import Clock
from otel_tcplife.replay.lines import file_lines, stream_lines
from otel_tcplife.replay.parser import Header, parse
from otel_tcplife.replay.row import Row, Unreadable
from otel_tcplife.replay.survey import clocks
from otel_tcplife.session import Event, SessionBatch, empty

REASONS_KEPT = 20
"""How many unreadable lines a Summary keeps the reasons of."""

_REMEDY = "give --replay a file that `tcplife -s` has written, or - for standard input"
_NUMBERS = ("pid", "ip_version", "local_port", "peer_port", "bytes_sent", "bytes_received", "duration")


@dataclass
class Summary:
    """What has been read so far: every line is a session, unreadable, a header or blank."""

    lines: int = 0
    sessions: int = 0
    unreadable: int = 0
    reasons: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Line number, from 1, and reason of the first REASONS_KEPT unreadable lines."""


class Replay:
    """Sessions from a recording; made by open_recording(). One thread reads it."""

    def __init__(self, descriptor: int, name: str, unreadable: Callable[[int, str], object]) -> None:
        """Own the descriptor. Of a regular file, read what is there now, once, to find out when its rows closed.

        Raise BadUsage if that is not tcplife CSV, and OSError if it cannot be read.
        """
        self.summary = Summary()
        self.ended = False
        """Whether all has been read."""
        self._descriptor = descriptor
        self._name = name
        self._unreadable = unreadable
        self._clock = Clock()
        self._clocks: Iterator[Clock] = iter(())
        lines = stream_lines(descriptor)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISREG(status.st_mode):
            extent = os.lseek(descriptor, 0, os.SEEK_CUR), status.st_size
            self._clocks = iter(clocks(parse(file_lines(descriptor, *extent), name), status.st_mtime_ns))
            lines = file_lines(descriptor, *extent)
        self._parsed = parse(lines, name)

    def read(self) -> SessionBatch:
        """The next sessions, some thousands at most; may be none. Does not wait for a stream.

        Raise BadUsage if a stream does not begin with a header of tcplife CSV, or the input cannot be read on.
        """
        try:
            parsed = next(self._parsed, None)
        except OSError as error:
            raise BadUsage(f"cannot read {self._name}: {error.strerror}") from error
        if parsed is None:
            self.ended = True
            return empty(0)
        now = time.time_ns()
        rows: list[Row] = []
        closed_at: list[int] = []
        for line in parsed:
            self.summary.lines += 1
            if isinstance(line, Row):
                rows.append(line)
                closed_at.append(self._clock.closed_at(line, now))
            elif isinstance(line, Header):
                self._clock = next(self._clocks, None) or Clock()
            elif line:
                self._report(line)
        self.summary.sessions += len(rows)
        return _batch(rows, closed_at, now)

    def close(self) -> None:
        """Close the input."""
        os.close(self._descriptor)

    def _report(self, line: Unreadable) -> None:
        summary = self.summary
        summary.unreadable += 1
        if len(summary.reasons) < REASONS_KEPT:
            summary.reasons.append((summary.lines, str(line)))
        self._unreadable(summary.lines, str(line))


def open_recording(path: str, unreadable: Callable[[int, str], object]) -> Replay:
    """A replay of tcplife CSV in a file, a named pipe, or standard input (`-`).

    `unreadable` is called with the number, from 1, of each line that cannot be read, and the reason. Raise BadUsage if
    there is nothing to read, or a file is not tcplife CSV; of a stream, read() tells that.
    """
    name = "standard input" if path == "-" else path
    try:
        # O_NONBLOCK: a named pipe would otherwise wait here for its writer
        descriptor = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return Replay(descriptor, name, unreadable)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise BadUsage(f"cannot read {name}: {error.strerror}", _REMEDY) from error


def _batch(rows: list[Row], closed_at: list[int], observed_at: int) -> SessionBatch:
    batch = empty(len(rows))
    if rows:
        batch["event"] = Event.SESSION_CLOSED
        batch["closed_at"] = closed_at
        batch["observed_at"] = observed_at
        for column in _NUMBERS:
            batch[column] = np.array([getattr(row, column) for row in rows], batch.dtype[column])
        batch["comm"] = [row.comm for row in rows]
        for column in ("local_address", "peer_address"):
            packed = b"".join([getattr(row, column) for row in rows])
            batch[column] = np.frombuffer(packed, batch.dtype[column])
    return batch
