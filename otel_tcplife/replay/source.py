"""A recording as a source: the lines of a file or a stream, what each of them is, and the sessions among them."""

from __future__ import annotations

import errno
import os
import re
import select
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from otel_tcplife.errors import BadUsage
from otel_tcplife.host import Host
from otel_tcplife.log import logger
from otel_tcplife.networks import Networks
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.replay.rows import Header, Row, Unreadable, header_of, row_of, shown
from otel_tcplife.replay.times import Clock, survey
from otel_tcplife.session import LARGEST_INTEGER, UNKNOWN_BYTES, Event, SessionBatch, empty

REASONS_KEPT = 10
"""For how many unreadable lines the reason is reported."""

_PAUSE = 0.05
"""Seconds after which a stream that had nothing ready is read again."""
_CHUNK_SIZE = 1 << 18
_MAX_LINE_SIZE = 1024

_NOTHING_TO_READ = "give --replay a file that tcplife has written, or - for standard input"
_NO_RECORDING = "record with `tcplife -s`, and -T to have the times"

# tcplife ends each line with two decimals: a last line without its newline may have lost some of them
_COMPLETE = re.compile(rb"\.[0-9]{2}$|[,\s]-$")
# A byte order mark, and what a shell has a terminal do before a command prints (seen in recordings of script(1))
_NO_TEXT = re.compile(rb"(?:\xef\xbb\xbf|\x1b\[[0-?]*[ -/]*[@-~]|\s)+")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

_NUMBERS = ("pid", "ip_version", "local_port", "peer_port", "bytes_sent", "bytes_received", "duration")

_Line: TypeAlias = Row | Header | Unreadable | None
"""What a line is; None if it is blank."""


@dataclass
class Summary:
    """What has been read so far: every line is a session, unreadable, a header or blank."""

    lines: int = 0
    sessions: int = 0
    unreadable: int = 0
    too_large: int = 0
    """Sessions with a size that OTLP cannot hold, which is left out."""
    reasons: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Line number, from 1, and reason of the first REASONS_KEPT unreadable lines."""


class ReplaySource:
    """Sessions that tcplife printed to a file, a named pipe or standard input. One thread reads it.

    The first unreadable lines are reported one by one, and at the end how many there were.
    """

    can_wait = True
    wants_scan = False

    def __init__(self, path: str, networks: Networks | None = None) -> None:
        """Open the recording, `-` for standard input. A regular file is surveyed first, to know when its rows closed.

        Raise BadUsage if there is nothing to read, or if a file is not a recording; of a stream, read() finds that out.
        """
        self.host = Host(networks=networks or Networks())
        self.summary = Summary()
        self.pause = 0.0
        self.ended = False
        self._reported = 0
        self._size = self._position = 0
        """Bytes of a file, and how many of them have been read."""
        self._has_header = False
        self._clock = Clock()
        self._clocks: Iterator[Clock] = iter(())
        self._name = "standard input" if path == "-" else path
        try:
            # O_NONBLOCK: a named pipe would otherwise wait here for its writer
            self._descriptor = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                self._parsed = self._begin()
            except BaseException:
                self.close()
                raise
        except OSError as error:
            raise BadUsage(f"cannot read {self._name}: {error.strerror}", _NOTHING_TO_READ) from error

    def read(self) -> SessionBatch:
        """The next sessions, some thousands at most; may be none. Does not wait for a stream.

        Raise BadUsage if a stream has ended without a header, or the input cannot be read any further.
        """
        batch = self._next_batch()
        if self._has_header:  # until then it may not be a recording at all, which is one line
            self._report_reasons()
        self.pause = 0.0 if len(batch) or self.ended else _PAUSE
        return batch

    def wait(self, deadline: Deadline) -> None:
        """Wait for a while where there was nothing, or until the deadline is set."""
        if self.pause:
            deadline.wait(self.pause)

    def open_sessions(self) -> Iterator[SessionBatch]:
        """None: what was printed has ended."""
        return iter(())

    def drain(self) -> SessionBatch:
        """Nothing: what was not read stays in the recording."""
        self._report_reasons()
        summary = self.summary
        if summary.unreadable:
            logger.warning("%d of %d lines could not be read", summary.unreadable, summary.lines)
        if summary.too_large:
            reason = "have sizes of 2^63 bytes or more, which OTLP cannot hold: these sizes are left out"
            logger.warning("%d sessions %s", summary.too_large, reason)
        return empty(0)

    def stats(self) -> Stats:
        """Lines by what became of them; all that should have been sessions count as seen."""
        summary = self.summary
        outcomes = {"submitted": summary.sessions, "unreadable": summary.unreadable}
        return Stats(outcomes, summary.sessions + summary.unreadable)

    @property
    def fraction(self) -> float | None:
        """How much has been read, from 0 to 1; None where the length of the recording is not known."""
        return self._position / self._size if self._size else None

    def close(self) -> None:
        """Close the recording."""
        os.close(self._descriptor)

    def _begin(self) -> Iterator[list[_Line]]:
        """What each line is, from now on. Raise OSError if the input cannot be read."""
        status = os.fstat(self._descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            return _parse(_lines(_stream_chunks(self._descriptor)), self._name)
        start, end = os.lseek(self._descriptor, 0, os.SEEK_CUR), status.st_size
        self._size = end - start
        chunks = [_file_chunks(self._descriptor, start, end) for _ in range(2)]
        first_pass = _parse(_lines(chunks[0]), self._name)
        self._clocks = iter(survey(first_pass, status.st_mtime_ns))
        return _parse(_lines(self._counted(chunks[1])), self._name)

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._position += len(chunk)
            yield chunk

    def _next_batch(self) -> SessionBatch:
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
                self._has_header = True
                self._clock = next(self._clocks, None) or Clock()
            elif line:
                self._count_unreadable(line)
        batch = _batch(rows, closed_at, now)
        self.summary.sessions += len(rows)
        self.summary.too_large += _too_large(batch)
        return batch

    def _count_unreadable(self, line: Unreadable) -> None:
        self.summary.unreadable += 1
        if len(self.summary.reasons) < REASONS_KEPT:
            self.summary.reasons.append((self.summary.lines, str(line)))

    def _report_reasons(self) -> None:
        for line, reason in self.summary.reasons[self._reported :]:
            logger.warning("line %d: %s", line, reason)
        self._reported = len(self.summary.reasons)


def _file_chunks(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """What a file has between two offsets."""
    while start < end and (chunk := os.pread(descriptor, min(_CHUNK_SIZE, end - start), start)):
        start += len(chunk)
        yield chunk


def _stream_chunks(descriptor: int) -> Iterator[bytes]:
    """What a stream has ready each time it is asked, which may be nothing, until its end."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(0):
            yield b""
        elif chunk := os.read(descriptor, _CHUNK_SIZE):
            yield chunk
        else:
            return


def _lines(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The lines that end in each chunk, each with its newline; then the last one, if that has none."""
    rest = b""
    for chunk in chunks:
        # Of a line that does not end, only so much is kept as tells that it is too long
        *whole, rest = (rest[: _MAX_LINE_SIZE + 1] + chunk).split(b"\n")
        yield [line + b"\n" for line in whole]
    if rest:
        yield [rest]


def _parse(chunks: Iterable[list[bytes]], name: str) -> Iterator[list[_Line]]:
    """What each line is, under the header that it follows. `name` is that of the input, for messages.

    Raise BadUsage at the end if there was no header.
    """
    header: Header | None = None
    first = b""
    for lines in chunks:
        parsed: list[_Line] = []
        for line in lines:
            found = _parse_line(line, header)
            if isinstance(found, Header):
                header = found
            elif found and not first:
                first = line
            parsed.append(found)
        yield parsed
    if not header:
        raise _no_recording(name, first)


def _parse_line(line: bytes, header: Header | None) -> _Line:
    if len(line.rstrip(b"\r\n")) > _MAX_LINE_SIZE:
        return Unreadable(f"longer than {_MAX_LINE_SIZE} bytes")
    text = line.strip()
    if no_text := _NO_TEXT.match(text):
        text = text[no_text.end() :]
    if not text:
        return None
    if found := header_of(text):
        return found
    if not header:
        return Unreadable(f"it stands before the line that names the columns: {shown(text)}")
    if not line[-1:].isspace() and not _COMPLETE.search(text):
        return Unreadable("cut off: it has no end of line")
    try:
        return row_of(text, header)
    except Unreadable as error:
        return error


def _no_recording(name: str, first: bytes) -> BadUsage:
    if not first:
        return BadUsage(f"{name} is empty", _NO_RECORDING)
    if first.startswith(_UTF_16):
        return BadUsage(f"{name} is in UTF-16", "convert it with `iconv -f UTF-16 -t UTF-8`")
    reason = f"no line names its columns, the first line is {shown(first.strip())}"
    return BadUsage(f"{name} is no output of tcplife: {reason}", _NO_RECORDING)


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
