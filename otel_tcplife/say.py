"""Lines for the person who runs the agent: said once when something changes, never over and over."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Shows one line to the user."""


class Trouble:
    """The state of something that can fail: one line when trouble begins, one when it is over."""

    def __init__(self, say: Say, what: str) -> None:
        """`what` is what fails, as in "cannot <what>"."""
        self._say = say
        self._what = what
        self._said = False

    def began(self, reason: str, then: str) -> None:
        """It failed, for this reason; `then` is what happens now."""
        if not self._said:
            self._say(f"cannot {self._what}: {reason}; {then}")
            self._said = True

    def over(self) -> None:
        """It works."""
        if self._said:
            self._say(f"can {self._what} again")
            self._said = False
