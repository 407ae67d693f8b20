"""How far a replay is: one line on the terminal, written anew twice a second."""

from __future__ import annotations

import time
from collections.abc import Callable

_EVERY = 0.5
"""Seconds between two lines. The first comes after as many, as a short replay needs none."""


class Progress:
    """Shows how many sessions have been delivered, how many a second, and how long the rest takes at that rate."""

    def __init__(
        self,
        sessions: Callable[[], int],
        waiting: Callable[[], int],
        fraction: Callable[[], float | None],
        show: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sessions` are those that were read, of which some may be `waiting` to be delivered.

        `fraction` is what has been read of the recording, from 0 to 1; None where its length is not known.
        """
        self._sessions = sessions
        self._waiting = waiting
        self._fraction = fraction
        self._show = show
        self._clock = clock
        self._began = clock()
        self._next = self._began + _EVERY

    def go_on(self) -> None:
        """Show it, if it is time to. Cheap, to be called often."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _EVERY
        self._show(self._line(now - self._began))

    def _line(self, elapsed: float) -> str:
        sessions, read = self._sessions(), self._fraction()
        delivered = max(sessions - self._waiting(), 0)
        line = f"{delivered} sessions, {delivered / elapsed:.0f} a second"
        if not read or not delivered:
            return line
        fraction = read * delivered / sessions
        return f"{line}, {fraction:.0%} of the recording, {elapsed / fraction - elapsed:.0f} s left"
