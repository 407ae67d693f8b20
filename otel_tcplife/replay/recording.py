"""Opens a recording, and reads it as batches of sessions."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from otel_tcplife.errors import BadUsage
from otel_tcplife.replay.dating import Clock
from otel_tcplife.replay.header import Header
from otel_tcplife.replay.lines import file_lines, stream_lines
from otel_tcplife.replay.parser import parse
from otel_tcplife.replay.row import Row, Unreadable
from otel_tcplife.replay.survey import clocks
from otel_tcplife.session import LARGEST_INTEGER, UNKNOWN_BYTES, Event, SessionBatch, empty

REASONS_KEPT = 10
"""How many unreadable lines a Summary keeps the reasons of."""

_REMEDY = "give --replay a file that tcplife has written, or - for standard input"
_NUMBERS = ("pid", "ip_version", "local_port", "peer_port", "bytes_sent", "bytes_received", "duration")


@dataclass
class Summary:
    """What has been read so far: every line is a session, unreadable, a header or blank."""

    lines: int = 0
    sessions: int = 0
    unreadable: int = 0
    too_large: int = 0
    """Sessions with bytes that OTLP cannot say, which are left out."""
    reasons: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Line number, from 1, and reason of the first REASONS_KEPT unreadable lines."""


class Replay:
    """Sessions from a recording; made by open_recording(). One thread reads it."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Own the descriptor. Of a regular file, read what is there now, once, to find out when its rows closed.

        Raise BadUsage if tcplife has not printed that, and OSError if it cannot be read.
        """
        self.summary = Summary()
        self.begun = False
        """Whether a header has come: a stream without one is no recording, of which read() tells at its end."""
        self.ended = False
        """Whether all has been read."""
        self._descriptor = descriptor
        self._name = name
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

        Raise BadUsage if a stream has ended without a header, or the input cannot be read on.
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
                self.begun = True
                self._clock = next(self._clocks, None) or Clock()
            elif line:
                self._report(line)
        batch = _batch(rows, closed_at, now)
        self.summary.sessions += len(rows)
        self.summary.too_large += _too_large(batch)
        return batch

    def close(self) -> None:
        """Close the input."""
        os.close(self._descriptor)

    def _report(self, line: Unreadable) -> None:
        summary = self.summary
        summary.unreadable += 1
        if len(summary.reasons) < REASONS_KEPT:
            summary.reasons.append((summary.lines, str(line)))


def open_recording(path: str) -> Replay:
    """A replay of what tcplife has printed to a file, a named pipe, or standard input (`-`).

    Raise BadUsage if there is nothing to read, or if tcplife has not printed what is in a file; of a stream, read()
    tells that.
    """
    name = "standard input" if path == "-" else path
    try:
        # O_NONBLOCK: a named pipe would otherwise wait here for its writer
        descriptor = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return Replay(descriptor, name)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise BadUsage(f"cannot read {name}: {error.strerror}", _REMEDY) from error


def _too_large(batch: SessionBatch) -> int:
    sizes = np.stack([batch["bytes_sent"], batch["bytes_received"]])
    return int(((sizes > LARGEST_INTEGER) & (sizes != UNKNOWN_BYTES)).any(axis=0).sum())


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
