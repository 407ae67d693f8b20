"""tcplife's CSV (`tcplife -s`, with or without -t and -T) to SessionBatch, for recordings and hosts without this agent.

What a recording cannot say is unknown: role, owner's source, close reason, user, round trip times, handshake; PID and
COMM where it has no such column. A byte count is tcplife's whole KB times 1024: what the recording says, a lower bound
(but for the SYN and the FIN, which tcplife counts as bytes), and 0 where there is no TX_KB or RX_KB column.

closed_at is as good as the time columns allow, and 0 where there are none:

- TIME is a local time without a date. The last row of a file is dated to the latest such time not after the file's
  modification time, and the rows before it by the midnights between them. In a stream each row is dated to the
  latest such time not after now, give or take a minute.
- TIME(s) places a row within the second that TIME names, and counts the days in which no session closed.
- TIME(s) alone counts from a start that the recording does not name: in a file, the last row closed at its modification
  time; in a stream, the first row closed when it was read.

Recordings in one file, each with its header, are taken to follow one another.

tcplife writes to a pipe in blocks of 8 KiB; `PYTHONUNBUFFERED=1 tcplife -s | ...` makes it write each line at once.
"""

from __future__ import annotations

import errno
import os
import re
import select
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

import numpy as np

from otel_tcplife.errors import BadUsage
from otel_tcplife.session import COMM_SIZE, UNKNOWN_TIME, Event, SessionBatch, empty

REASONS_KEPT = 20
"""How many unreadable lines a Summary keeps the reasons of."""

_GIVE_FILE = "give --replay a file that `tcplife -s` has written, or - for standard input"
_RECORD = "record with `tcplife -s`, and -T to have the times"

_COLUMNS = set(b"TIME,TIME(s),PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS".split(b","))
_REQUIRED = {b"LADDR", b"LPORT", b"RADDR", b"RPORT", b"MS"}
_UNKNOWN = b"-"  # written by table.py under TIME, TIME(s) and MS

_NUMBERS = ("pid", "ip_version", "local_port", "peer_port", "bytes_sent", "bytes_received", "duration")

_CHUNK = 1 << 18
_LONGEST_LINE = 1024
# tcplife ends each line with two decimals: a last line without its newline may have lost some of them
_ENDS_WHOLE = re.compile(rb"\.[0-9]{2}$|,-$")
_TIME_OF_DAY = re.compile(rb"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])")
_SECONDS = re.compile(rb"-?[0-9]{1,10}(?:\.[0-9]+)?")
_MILLISECONDS = re.compile(rb"[0-9]{1,13}(?:\.[0-9]+)?")

_DAY = 86_400
_SECOND = 10**9
_SLACK = 60  # seconds that lines may be out of order, or a clock ahead of this one's
_SET_BACK = 3_600 + _SLACK  # and the hour at the end of daylight saving time
_MAPPED = bytes(10) + b"\xff\xff"


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
        self._unreadable = unreadable
        self._parser = _Parser(name)
        self._clock = _Clock()
        self._clocks: Iterator[_Clock] = iter(())
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISREG(status.st_mode):
            start = os.lseek(descriptor, 0, os.SEEK_CUR)
            surveys = _survey(_lines(_file_chunks(descriptor, start, status.st_size)), _Parser(name))
            self._clocks = iter(_date(surveys, status.st_mtime_ns))
            self._lines = _lines(_file_chunks(descriptor, start, status.st_size))
        else:
            self._lines = _lines(_stream_chunks(descriptor))

    def read(self) -> SessionBatch:
        """The next sessions, some thousands at most; may be none. Does not wait for a stream.

        Raise BadUsage if a stream does not begin with a header of tcplife CSV, or the input cannot be read on.
        """
        try:
            lines = next(self._lines, None)
        except OSError as error:
            raise BadUsage(f"cannot read {self._parser.name}: {error.strerror}") from error
        if lines is None:
            self.ended = True
            self._parser.end()
            return empty(0)
        now = time.time_ns()
        rows: list[_Row] = []
        closed_at: list[int] = []
        for line in lines:
            row = self._row(line)
            if row:
                rows.append(row)
                closed_at.append(self._clock.closed_at(row, now))
        self.summary.sessions += len(rows)
        return _batch(rows, closed_at, now)

    def close(self) -> None:
        """Close the input."""
        os.close(self._descriptor)

    def _row(self, line: bytes) -> _Row | None:
        """The session of a line; None for a header, a blank line, and one that is unreadable, which is reported."""
        summary, recordings = self.summary, self._parser.recordings
        summary.lines += 1
        try:
            row = self._parser.row(line)
        except _LineError as error:
            summary.unreadable += 1
            if len(summary.reasons) < REASONS_KEPT:
                summary.reasons.append((summary.lines, str(error)))
            self._unreadable(summary.lines, str(error))
            return None
        if self._parser.recordings != recordings:
            self._clock = next(self._clocks, None) or _Clock()
        return row


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
        raise BadUsage(f"cannot read {name}: {error.strerror}", _GIVE_FILE) from error


def _file_chunks(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        chunk = os.pread(descriptor, min(_CHUNK, end - start), start)
        if not chunk:
            return
        start += len(chunk)
        yield chunk


def _stream_chunks(descriptor: int) -> Iterator[bytes]:
    """What is there each time it is asked for, which may be nothing, until the end."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        chunk = b""
        if poll.poll(0):
            chunk = os.read(descriptor, _CHUNK)
            if not chunk:
                return
        yield chunk


def _lines(chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """The lines that each chunk ends, each with its newline; then the last one, if that has none."""
    rest = b""
    for chunk in chunks:
        # of a line without end, enough is kept to tell that it is too long
        *whole, rest = (rest[: _LONGEST_LINE + 1] + chunk).split(b"\n")
        yield [line + b"\n" for line in whole]
    if rest:
        yield [rest]


class _LineError(Exception):
    """Why a line is not a session."""


class _Row(NamedTuple):
    """One line; times in ns but for time_of_day, None where unknown."""

    time_of_day: int | None
    """Seconds since local midnight."""
    since_start: int | None
    pid: int
    comm: bytes
    ip_version: int
    local_address: bytes
    local_port: int
    peer_address: bytes
    peer_port: int
    bytes_sent: int
    bytes_received: int
    duration: int


class _Parser:
    """Reads lines under the header they follow."""

    def __init__(self, name: str) -> None:
        """`name` is that of the input, for messages."""
        self.name = name
        self.recordings = 0
        """How many headers there were."""
        self._names: list[bytes] = []
        self._comm_at: int | None = None

    def row(self, line: bytes) -> _Row | None:
        """The session of a line with its newline, None for a header or a blank line.

        Raise _LineError where it is none of these, and BadUsage where no header came before it.
        """
        text = line.rstrip(b"\r\n")
        if not text.strip():
            return None
        if len(text) > _LONGEST_LINE:
            self._refuse_without_header(text)
            raise _LineError(f"longer than {_LONGEST_LINE} bytes")
        fields = text.split(b",")
        if fields[-1] in _COLUMNS or not self._names:
            if _is_header(fields):
                self.recordings += 1
                self._names = fields
                self._comm_at = fields.index(b"COMM") if b"COMM" in fields else None
                return None
            self._refuse_without_header(text)
        if not line.endswith(b"\n") and not _ENDS_WHOLE.search(text):
            raise _LineError("cut off: it has no end of line")
        return _row(self._named(fields))

    def end(self) -> None:
        """Raise BadUsage where there was nothing but blank lines."""
        if not self._names:
            raise BadUsage(f"{self.name} is empty", _RECORD)

    def _refuse_without_header(self, text: bytes) -> None:
        if not self._names:
            raise BadUsage(f"{self.name} is not tcplife CSV: its first line is {_shown(text)}", _RECORD)

    def _named(self, fields: list[bytes]) -> dict[bytes, bytes]:
        expected, surplus = len(self._names), len(fields) - len(self._names)
        if surplus:
            if surplus < 0 or self._comm_at is None:
                raise _LineError(f"{len(fields)} fields where the header has {expected}")
            # of all columns, only COMM can hold commas
            comm = slice(self._comm_at, self._comm_at + surplus + 1)
            fields[comm] = [b",".join(fields[comm])]
        return dict(zip(self._names, fields, strict=True))


def _is_header(fields: list[bytes]) -> bool:
    names = set(fields)
    return _REQUIRED <= names <= _COLUMNS and len(names) == len(fields)


def _row(named: dict[bytes, bytes]) -> _Row:
    local_text, peer_text = named[b"LADDR"], named[b"RADDR"]
    local, peer = _address(local_text), _address(peer_text)
    if local is None or peer is None:
        column, text = ("LADDR", local_text) if local is None else ("RADDR", peer_text)
        raise _LineError(f"{column} is no IP address: {_shown(text)}")
    ip_version = 4 if local.startswith(_MAPPED) else 6
    if peer.startswith(_MAPPED) != (ip_version == 4):
        raise _LineError("LADDR and RADDR are of different IP versions")
    written_as = b"6" if b":" in local_text else b"4"
    if named.get(b"IP", written_as) != written_as:
        raise _LineError(f"IP is {_shown(named[b'IP'])} where LADDR is {_shown(local_text)}")
    return _Row(
        _time_of_day(named.get(b"TIME", _UNKNOWN)),
        _since_start(named.get(b"TIME(s)", _UNKNOWN)),
        _whole(named, b"PID", 0xFFFF_FFFF),
        named.get(b"COMM", b"")[: COMM_SIZE - 1],
        ip_version,
        local,
        _whole(named, b"LPORT", 0xFFFF),
        peer,
        _whole(named, b"RPORT", 0xFFFF),
        _whole(named, b"TX_KB", (1 << 54) - 1) * 1024,
        _whole(named, b"RX_KB", (1 << 54) - 1) * 1024,
        _duration(named[b"MS"]),
    )


def _whole(named: dict[bytes, bytes], column: bytes, most: int) -> int:
    """A whole number; 0 where there is no such column."""
    text = named.get(column, b"0")
    if text.isdigit() and len(text) <= 20 and (number := int(text)) <= most:
        return number
    raise _LineError(f"{column.decode()} is no whole number from 0 to {most}: {_shown(text)}")


def _duration(text: bytes) -> int:
    if text == _UNKNOWN:
        return UNKNOWN_TIME
    if not _MILLISECONDS.fullmatch(text):
        raise _LineError(f"MS is no number of milliseconds: {_shown(text)}")
    return round(float(text) * 1e6)


def _since_start(text: bytes) -> int | None:
    """TIME(s), which can be negative: each CPU's sessions reach tcplife in order, but not those of all of them."""
    if text == _UNKNOWN:
        return None
    if not _SECONDS.fullmatch(text):
        raise _LineError(f"TIME(s) is no number of seconds: {_shown(text)}")
    return round(float(text) * 1e6) * 1000


def _time_of_day(text: bytes) -> int | None:
    if text == _UNKNOWN:
        return None
    found = _TIME_OF_DAY.fullmatch(text)
    if not found:
        raise _LineError(f"TIME is no time of day: {_shown(text)}")
    hours, minutes, seconds = map(int, found.groups())
    return (hours * 60 + minutes) * 60 + seconds


@lru_cache(maxsize=4096)
def _address(text: bytes) -> bytes | None:
    try:
        return inet_pton(AF_INET6, text.decode()) if b":" in text else _MAPPED + inet_pton(AF_INET, text.decode())
    except (OSError, ValueError):
        return None


def _shown(text: bytes) -> str:
    """For a message: shortened, and harmless to a terminal."""
    return ascii(text[:60].decode("utf-8", "replace")) + ("..." if len(text) > 60 else "")


def _batch(rows: list[_Row], closed_at: list[int], observed_at: int) -> SessionBatch:
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


class _Clock:
    """Turns the time columns of one recording into Unix ns; this one as for a stream, of which no end is known."""

    def __init__(self, start: int | None = None) -> None:
        """`start` is the Unix time, in ns, of 0 under TIME(s); where it is None, the first row tells."""
        self._start = start
        self._last = (-1, 0)
        self._last_second = 0

    def closed_at(self, row: _Row, now: int) -> int:
        """When the session closed, 0 if unknown; `now` is Unix time in ns."""
        closed_at = self._closed_at(row, now)
        return closed_at if _SECOND <= closed_at < 1 << 63 else 0

    def _closed_at(self, row: _Row, now: int) -> int:
        if row.time_of_day is None:
            if row.since_start is None:
                return 0
            if self._start is None:
                self._start = now - row.since_start
            return self._start + row.since_start
        second = self._second(row.time_of_day, row.since_start, now // _SECOND) * _SECOND
        if row.since_start is None:
            return second
        # TIME names the second and TIME(s) the place in it: the start moves by no more than makes them agree
        earliest = second - row.since_start
        latest = earliest + _SECOND - 1000
        self._start = earliest if self._start is None else min(max(self._start, earliest), latest)
        return self._start + row.since_start

    def _second(self, time_of_day: int, since_start: int | None, now: int) -> int:
        """Unix time of the second that TIME names."""
        if self._last != (time_of_day, now):
            self._last = time_of_day, now
            self._last_second = _latest(time_of_day, now + _SLACK)
        return self._last_second


class _DatedClock(_Clock):
    """Where the date of the first TIME is known, the rows after it have theirs by the midnights between them."""

    def __init__(self, first_day: int, start: int | None) -> None:
        """`first_day` is a proleptic Gregorian ordinal."""
        super().__init__(start)
        self._first_day = first_day
        self._days = _Days()
        self._last_position = -1

    def _second(self, time_of_day: int, since_start: int | None, now: int) -> int:
        position = self._days.position(time_of_day, since_start)
        if position != self._last_position:
            self._last_position = position
            earlier, later = _unix_seconds(self._first_day + position // _DAY, time_of_day)
            # of an hour that the end of daylight saving time repeats, the second one follows the first
            self._last_second = later if earlier < self._last_second - _SLACK else earlier
        return self._last_second


class _Days:
    """Counts the midnights between the times of day in a column of TIME."""

    def __init__(self) -> None:
        self._position: int | None = None
        self._since_start: int | None = None

    def position(self, time_of_day: int, since_start: int | None) -> int:
        """Seconds, of days of 24 hours, since the midnight before the first row."""
        if self._position is None:
            self._position = time_of_day
        else:
            elapsed = 0
            if since_start is not None and self._since_start is not None:
                elapsed = (since_start - self._since_start) // _SECOND
            least = self._position + elapsed - _SET_BACK
            self._position = least + (time_of_day - least) % _DAY
        self._since_start = since_start
        return self._position


@dataclass
class _Survey:
    """What the time columns of a whole recording say."""

    days: _Days = field(default_factory=_Days)
    first_position: int | None = None
    last_position: int = 0
    first_since_start: int | None = None
    last_since_start: int = 0
    start_position: int | None = None
    """Of 0 under TIME(s), in ns: the earliest that lets no row close before the second its TIME names."""

    def add(self, row: _Row) -> None:
        """Take the next row."""
        if row.since_start is not None:
            if self.first_since_start is None:
                self.first_since_start = row.since_start
            self.last_since_start = row.since_start
        if row.time_of_day is not None:
            self.last_position = self.days.position(row.time_of_day, row.since_start)
            if self.first_position is None:
                self.first_position = self.last_position
            if row.since_start is not None:
                start = self.last_position * _SECOND - row.since_start
                self.start_position = start if self.start_position is None else max(start, self.start_position)

    def clock(self, ended_at: int) -> tuple[_Clock, int]:
        """A clock for the same rows, the last of which closed not after `ended_at`, and when the first did: Unix ns."""
        if self.first_position is not None:
            last = _latest(self.last_position % _DAY, ended_at // _SECOND)
            first_day = date.fromtimestamp(last).toordinal() - self.last_position // _DAY
            first = _unix_seconds(first_day, self.first_position)[0] * _SECOND
            if self.start_position is None:
                return _DatedClock(first_day, None), first
            return _DatedClock(first_day, first + self.start_position - self.first_position * _SECOND), first
        if self.first_since_start is not None:
            start = ended_at - self.last_since_start
            return _Clock(start), start + self.first_since_start
        return _Clock(), ended_at


def _survey(lines: Iterator[list[bytes]], parser: _Parser) -> list[_Survey]:
    """One for each recording in a file. Raise BadUsage if it does not begin with a header."""
    surveys: list[_Survey] = []
    for some in lines:
        for line in some:
            try:
                row = parser.row(line)
            except _LineError:
                continue
            if row:
                surveys[-1].add(row)
            elif parser.recordings > len(surveys):
                surveys.append(_Survey())
    parser.end()
    return surveys


def _date(surveys: list[_Survey], ended_at: int) -> list[_Clock]:
    """A clock for each recording: the last ended at `ended_at` (Unix ns), each other before the next one began."""
    clocks: list[_Clock] = []
    for survey in reversed(surveys):
        clock, ended_at = survey.clock(ended_at)
        clocks.append(clock)
    return clocks[::-1]


def _latest(time_of_day: int, limit: int) -> int:
    """The latest Unix second not after `limit` at which a local clock showed this time of day; 0 if there is none."""
    try:
        today = date.fromtimestamp(limit).toordinal()
    except (ValueError, OverflowError, OSError):
        return 0
    seconds = (second for day in (today - 1, today) for second in _unix_seconds(day, time_of_day))
    return max((second for second in seconds if second <= limit), default=0)


def _unix_seconds(day: int, time_of_day: int) -> tuple[int, int]:
    """The Unix seconds at which a local clock showed this time, two if it was set back; 0 if out of range."""
    try:
        local = datetime.fromordinal(day) + timedelta(seconds=time_of_day)
        first, second = (int(local.replace(fold=fold).timestamp()) for fold in (0, 1))
    except (ValueError, OverflowError, OSError):
        return 0, 0
    return min(first, second), max(first, second)
