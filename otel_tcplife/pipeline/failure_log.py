"""One line in the log when something begins to fail, one when it works again, and few in a minute."""

from __future__ import annotations

import time

from otel_tcplife.log import logger

_LINES_A_MINUTE = 4


class FailureLog:
    """The state of something that can fail.

    What changes more often than a few times a minute is logged again when the last line is a minute old, as it stands
    then.
    """

    def __init__(self, what: str) -> None:
        """`what` is what fails, as in "cannot <what>"."""
        self._what = what
        self._logged_as_failing = False
        self._logged_at: list[float] = []

    def failed(self, reason: str, consequence: str) -> None:
        """It failed, for this reason; `consequence` is what happens now."""
        self._change(True, f"cannot {self._what}: {reason}; {consequence}")

    def recovered(self) -> None:
        """It works."""
        self._change(False, f"can {self._what} again")

    def _change(self, fails: bool, line: str) -> None:
        if fails == self._logged_as_failing:
            return
        now = time.monotonic()
        self._logged_at = [at for at in self._logged_at if now - at < 60]
        if len(self._logged_at) < _LINES_A_MINUTE:
            self._logged_at.append(now)
            self._logged_as_failing = fails
            logger.warning("%s", line)
