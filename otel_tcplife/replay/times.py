"""When the rows of a recording closed: local times, the clock of a recording, and the survey of a whole file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache

from otel_tcplife.replay.rows import Header, Row, Unreadable

_SECOND = 10**9
"""In ns."""
_DAY = 86_400
"""Seconds of a day on which no clock is set."""
_SLACK = 60
"""Seconds by which lines may be out of order, or the recording's clock ahead of this host's."""
_MAX_STEP_BACK = 3_600 + _SLACK
"""Seconds by which TIME may go back within a day: the end of daylight saving time repeats an hour."""


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
            earliest = self._position + elapsed - _MAX_STEP_BACK
            self._position = earliest + (time_of_day - earliest) % _DAY
        self._since_start = since_start
        return self._position


class Clock:
    """Turns the time columns of one recording into Unix ns."""

    def __init__(self, start: int | None = None, first_day: int | None = None) -> None:
        """`start` is the Unix time, in ns, of 0 under TIME(s); where it is None, the first row determines it.

        `first_day` is the day of the first TIME, as an ordinal; where it is None, each row is dated by itself.
        """
        self._start = start
        self._first_day = first_day
        self._days = _Days()
        self._last_second = 0

    def closed_at(self, row: Row, now: int) -> int:
        """When the session closed, 0 if unknown; `now` is Unix time in ns."""
        closed_at = self._closed_at(row.time_of_day, row.since_start, now)
        return closed_at if _SECOND <= closed_at < 1 << 63 else 0

    def _closed_at(self, time_of_day: int | None, since_start: int | None, now: int) -> int:
        if time_of_day is None:
            if since_start is None:
                return 0
            if self._start is None:
                self._start = now - since_start
            return self._start + since_start
        second = self._second(time_of_day, since_start, now // _SECOND) * _SECOND
        if since_start is None:
            return second
        # TIME names the second, and TIME(s) the place in it: move the start by no more than makes the two agree
        earliest_start = second - since_start
        latest_start = earliest_start + _SECOND - 1000
        self._start = earliest_start if self._start is None else min(max(self._start, earliest_start), latest_start)
        return self._start + since_start

    def _second(self, time_of_day: int, since_start: int | None, now: int) -> int:
        """Unix time of the second that TIME names."""
        if self._first_day is None:
            return _latest(time_of_day, now + _SLACK)
        position = self._days.position(time_of_day, since_start)
        earlier, later = _unix_seconds(self._first_day + position // _DAY, time_of_day)
        # The end of daylight saving time repeats an hour. A row in it that seems to go back is in its second pass.
        self._last_second = later if earlier < self._last_second - _SLACK else earlier
        return self._last_second


def survey(lines: Iterable[list[Row | Header | Unreadable | None]], ended_at: int) -> list[Clock]:
    """Read a whole file, and return a clock for each recording in it.

    Only the end of a file has a date: its last recording ended at `ended_at`, the file's modification time in Unix ns.
    Each other one ended when the next one began.
    """
    surveys: list[_Survey] = []
    for some in lines:
        for line in some:
            if isinstance(line, Header):
                surveys.append(_Survey())
            elif isinstance(line, Row):
                surveys[-1].add(line)
    clocks: list[Clock] = []
    for each in reversed(surveys):
        clock, ended_at = each.clock(ended_at)
        clocks.append(clock)
    return clocks[::-1]


@dataclass
class _Survey:
    """What the time columns of a whole recording say; positions are those of _Days."""

    days: _Days = field(default_factory=_Days)
    first_position: int | None = None
    last_position: int = 0
    first_since_start: int | None = None
    last_since_start: int = 0
    start_position: int | None = None
    """The earliest position, in ns, of 0 under TIME(s) with which no row closes before the second that TIME names."""

    def add(self, row: Row) -> None:
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

    def clock(self, ended_at: int) -> tuple[Clock, int]:
        """A clock for these rows, the last of which closed at `ended_at` at the latest; and when the first one closed.

        Times are Unix ns.
        """
        if self.first_position is not None:
            last = _latest(self.last_position % _DAY, ended_at // _SECOND)
            first_day = _local_day(last) - self.last_position // _DAY
            first = _unix_seconds(first_day, self.first_position)[0] * _SECOND
            if self.start_position is None:
                return Clock(None, first_day), first
            return Clock(first + self.start_position - self.first_position * _SECOND, first_day), first
        if self.first_since_start is not None:
            start = ended_at - self.last_since_start
            return Clock(start), start + self.first_since_start
        return Clock(), ended_at


def _local_day(second: int) -> int:
    """The day, as a proleptic Gregorian ordinal, that a local clock shows at this Unix second."""
    return date.fromtimestamp(second).toordinal()


@lru_cache(maxsize=2)  # many rows of one second, on today or yesterday
def _unix_seconds(day: int, time_of_day: int) -> tuple[int, int]:
    """The first and the last Unix second at which a local clock showed this time; they differ if it was set back.

    Both are 0 if they are out of range.
    """
    try:
        local = datetime.fromordinal(day) + timedelta(seconds=time_of_day)
        first, second = (int(local.replace(fold=fold).timestamp()) for fold in (0, 1))
    except (ValueError, OverflowError, OSError):
        return 0, 0
    return min(first, second), max(first, second)


def _latest(time_of_day: int, limit: int) -> int:
    """The latest Unix second not after `limit` at which a local clock showed this time of day; 0 if there is none."""
    try:
        today = _local_day(limit)
    except (ValueError, OverflowError, OSError):
        return 0
    seconds = (second for day in (today - 1, today) for second in _unix_seconds(day, time_of_day))
    return max((second for second in seconds if second <= limit), default=0)
