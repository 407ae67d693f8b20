"""When the rows of a recording closed, by its time columns."""

from __future__ import annotations

from otel_tcplife.replay.local_time import DAY, latest, unix_seconds
from otel_tcplife.replay.row import Row

SECOND = 10**9
"""In ns."""

_SLACK = 60  # seconds that lines may be out of order, or a clock ahead of this one's
_SET_BACK = 3_600 + _SLACK  # and the hour at the end of daylight saving time


class Days:
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
                elapsed = (since_start - self._since_start) // SECOND
            least = self._position + elapsed - _SET_BACK
            self._position = least + (time_of_day - least) % DAY
        self._since_start = since_start
        return self._position


class Clock:
    """Turns the time columns of one recording into Unix ns."""

    def __init__(self, start: int | None = None, first_day: int | None = None) -> None:
        """`start` is the Unix time, in ns, of 0 under TIME(s); where it is None, the first row tells.

        `first_day` is the day of the first TIME, as an ordinal; where it is None, each row is dated by itself.
        """
        self._start = start
        self._first_day = first_day
        self._days = Days()
        self._last_second = 0

    def closed_at(self, row: Row, now: int) -> int:
        """When the session closed, 0 if unknown; `now` is Unix time in ns."""
        closed_at = self._closed_at(row.time_of_day, row.since_start, now)
        return closed_at if SECOND <= closed_at < 1 << 63 else 0

    def _closed_at(self, time_of_day: int | None, since_start: int | None, now: int) -> int:
        if time_of_day is None:
            if since_start is None:
                return 0
            if self._start is None:
                self._start = now - since_start
            return self._start + since_start
        second = self._second(time_of_day, since_start, now // SECOND) * SECOND
        if since_start is None:
            return second
        # TIME names the second and TIME(s) the place in it: the start moves by no more than makes them agree
        earliest = second - since_start
        latest_start = earliest + SECOND - 1000
        self._start = earliest if self._start is None else min(max(self._start, earliest), latest_start)
        return self._start + since_start

    def _second(self, time_of_day: int, since_start: int | None, now: int) -> int:
        """Unix time of the second that TIME names."""
        if self._first_day is None:
            return latest(time_of_day, now + _SLACK)
        position = self._days.position(time_of_day, since_start)
        earlier, later = unix_seconds(self._first_day + position // DAY, time_of_day)
        # of an hour that the end of daylight saving time repeats, the second one follows the first
        self._last_second = later if earlier < self._last_second - _SLACK else earlier
        return self._last_second
