"""A first look at a whole file: only its end is dated, by its modification time, and from there all that is before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from otel_tcplife.replay.dating import SECOND, Clock, Days
from otel_tcplife.replay.header import Header
from otel_tcplife.replay.local_time import DAY, latest, local_day, unix_seconds
from otel_tcplife.replay.parser import Line
from otel_tcplife.replay.row import Row


def clocks(parsed: Iterable[list[Line]], ended_at: int) -> list[Clock]:
    """A clock for each recording in a file: the last ended at `ended_at` (Unix ns), each other when the next began."""
    surveys: list[_Survey] = []
    for lines in parsed:
        for line in lines:
            if isinstance(line, Header):
                surveys.append(_Survey())
            elif isinstance(line, Row):
                surveys[-1].add(line)
    dated: list[Clock] = []
    for survey in reversed(surveys):
        clock, ended_at = survey.clock(ended_at)
        dated.append(clock)
    return dated[::-1]


@dataclass
class _Survey:
    """What the time columns of a whole recording say; positions are those of Days."""

    days: Days = field(default_factory=Days)
    first_position: int | None = None
    last_position: int = 0
    first_since_start: int | None = None
    last_since_start: int = 0
    start_position: int | None = None
    """Of 0 under TIME(s), in ns: the earliest that lets no row close before the second its TIME names."""

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
                start = self.last_position * SECOND - row.since_start
                self.start_position = start if self.start_position is None else max(start, self.start_position)

    def clock(self, ended_at: int) -> tuple[Clock, int]:
        """A clock for the same rows, the last of which closed not after `ended_at`, and when the first did: Unix ns."""
        if self.first_position is not None:
            last = latest(self.last_position % DAY, ended_at // SECOND)
            first_day = local_day(last) - self.last_position // DAY
            first = unix_seconds(first_day, self.first_position)[0] * SECOND
            if self.start_position is None:
                return Clock(None, first_day), first
            return Clock(first + self.start_position - self.first_position * SECOND, first_day), first
        if self.first_since_start is not None:
            start = ended_at - self.last_since_start
            return Clock(start), start + self.first_since_start
        return Clock(), ended_at
