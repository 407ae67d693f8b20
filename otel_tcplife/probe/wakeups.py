"""Waiting for the ring to fill up: the program wakes who waits each time that a CPU has written some more into it."""

from __future__ import annotations

import select
import time

from otel_tcplife.pipeline.deadline import Deadline

_LOOK_EVERY = 0.1
"""Seconds between two looks at the deadline, which no descriptor tells of."""


class Wakeups:
    """Those of one ring, for one thread."""

    def __init__(self, ring_fd: int) -> None:
        """The descriptor stays the caller's. Raise OSError where no other one may be open."""
        self._epoll = select.epoll()
        # Edge-triggered: there is always something in the ring soon, and only the program knows when it is much
        self._epoll.register(ring_fd, select.EPOLLIN | select.EPOLLET)

    def wait(self, seconds: float, deadline: Deadline) -> bool:
        """Wait for one, so long at most, or until the deadline is set; return whether there was one.

        One that came since the last call counts.
        """
        until = time.monotonic() + seconds
        while not deadline.is_set:
            left = until - time.monotonic()
            if self._epoll.poll(max(min(left, _LOOK_EVERY), 0)):
                return True
            if left <= _LOOK_EVERY:
                break
        return False

    def close(self) -> None:
        """Give the descriptor up."""
        self._epoll.close()
