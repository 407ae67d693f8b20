"""When the ring is to be read next."""

from __future__ import annotations

import time

from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.probe.wakeups import Wakeups

_SHORTEST_INTERVAL, _LONGEST_INTERVAL = 0.05, 0.2
"""Seconds between two reads, while it does not fill up faster. Each wakes a process whose code and data have left the
caches of the CPU meanwhile, which costs more than reading. It is the longest where the program wakes who reads."""
_BURST = 200_000
"""Session ends a second that may begin at any time, and are to fill half of the ring at most before the next read."""

_MUCH = 0.1
"""Of the ring, which is not read as a whole where it is another tracer's backlog, or where a record is held up."""


class Pace:
    """How long to wait between two reads. For the thread that reads."""

    def __init__(self, ring_fd: int, room: float, *, in_application: bool) -> None:
        """`room` is how many rows the ring has room for.

        `in_application` says that this process is an application's, whose threads may be greenlets: all of them would
        wait where one waits for the ring. Raise OSError where no other descriptor may be open.
        """
        self.pause = self._interval = max(_SHORTEST_INTERVAL, min(_LONGEST_INTERVAL, room / 2 / _BURST))
        """Seconds to wait where the program wakes nobody."""
        self._wakeups = None if in_application else Wakeups(ring_fd)
        self._woken = 0
        """How many waits have been ended by the program, one after the other."""
        self._last_read = time.monotonic()
        self._has_left_much = False

    def has_read(self, fill: float, left: float) -> None:
        """The ring was read, which was as full as this, from 0 to 1, and still is as full as that."""
        before, self._last_read = self._last_read, time.monotonic()
        # So long that a tenth of it fills up, if sessions go on coming as fast
        tenth = (self._last_read - before) * 0.1 / fill if fill else float("inf")
        self.pause = min(self._interval, tenth)
        self._has_left_much = left > _MUCH

    def wait(self, deadline: Deadline) -> None:
        """Wait until it is time for the next read, or until the deadline is set.

        Where the program wakes this thread, it is left alone for as long as can be without that, when there is much to
        read: each of many CPUs wakes it after few sessions. The first time tells only that there is.
        """
        left = _LONGEST_INTERVAL
        if self._woken > 1 or self._has_left_much or not self._wakeups:
            deadline.wait(self.pause)
            left -= self.pause
        if self._wakeups and not self._has_left_much:  # it is woken by what comes, with no regard to that
            self._woken = self._woken + 1 if self._wakeups.wait(left, deadline) else 0

    def close(self) -> None:
        """Give up what waits."""
        if self._wakeups:
            self._wakeups.close()
