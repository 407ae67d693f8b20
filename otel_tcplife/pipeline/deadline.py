"""When everything has to end."""

from __future__ import annotations

import threading
import time


class Deadline:
    """None while the pipeline runs; once it is set, the time that is left to deliver what there is.

    A signal's handler may set it, whatever the thread that it interrupts is at: threading.Event would wait for itself.
    """

    def __init__(self, within: float) -> None:
        """`within` is how many seconds are left when it is set."""
        self._within = within
        self._is_set = False
        self._at = float("inf")
        self._changed = threading.Condition(threading.RLock())

    def set(self) -> None:
        """Have everything end in that time. Idempotent."""
        with self._changed:
            if not self._is_set:
                self._at = time.monotonic() + self._within
                self._is_set = True
                self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is set; return whether it is."""
        with self._changed:
            if not self._is_set:
                self._changed.wait(seconds)
            return self._is_set

    @property
    def is_set(self) -> bool:
        """Whether it is time to finish."""
        return self._is_set

    @property
    def remaining(self) -> float:
        """Seconds until all must have ended; infinite while it is not set, never negative."""
        return max(self._at - time.monotonic(), 0.0)
