"""Lines for the person who runs the agent: said once when something changes, never over and over."""

from __future__ import annotations

import time
from collections.abc import Callable

Say = Callable[[str], None]
"""Shows one line to the user."""


_LINES_A_MINUTE = 4


class Trouble:
    """The state of something that can fail: one line when trouble begins, one when it is over, and few in a minute.

    What changes more often is told again when the last line of a minute ago makes room for it, as it stands then.
    """

    def __init__(self, say: Say, what: str) -> None:
        """`what` is what fails, as in "cannot <what>"."""
        self._say = say
        self._what = what
        self._said = False
        self._said_at: list[float] = []

    def began(self, reason: str, then: str) -> None:
        """It failed, for this reason; `then` is what happens now."""
        self._change(True, f"cannot {self._what}: {reason}; {then}")

    def over(self) -> None:
        """It works."""
        self._change(False, f"can {self._what} again")

    def _change(self, fails: bool, line: str) -> None:
        if fails == self._said:
            return
        now = time.monotonic()
        self._said_at = [at for at in self._said_at if now - at < 60]
        if len(self._said_at) < _LINES_A_MINUTE:
            self._said_at.append(now)
            self._said = fails
            self._say(line)
