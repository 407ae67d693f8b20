"""Local times of day, as under TIME, to Unix seconds."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache

DAY = 86_400
"""Seconds of a day on which no clock is set."""


def local_day(second: int) -> int:
    """The day, as a proleptic Gregorian ordinal, that a local clock shows at this Unix second."""
    return date.fromtimestamp(second).toordinal()


@lru_cache(maxsize=2)  # of many rows in a second, on today or yesterday
def unix_seconds(day: int, time_of_day: int) -> tuple[int, int]:
    """The Unix seconds at which a local clock showed this time, two if it was set back; 0 if out of range."""
    try:
        local = datetime.fromordinal(day) + timedelta(seconds=time_of_day)
        first, second = (int(local.replace(fold=fold).timestamp()) for fold in (0, 1))
    except (ValueError, OverflowError, OSError):
        return 0, 0
    return min(first, second), max(first, second)


def latest(time_of_day: int, limit: int) -> int:
    """The latest Unix second not after `limit` at which a local clock showed this time of day; 0 if there is none."""
    try:
        today = local_day(limit)
    except (ValueError, OverflowError, OSError):
        return 0
    seconds = (second for day in (today - 1, today) for second in unix_seconds(day, time_of_day))
    return max((second for second in seconds if second <= limit), default=0)
