"""Asking the thread that reads the source for a scan of the open sessions, before metrics are exported."""

from __future__ import annotations

import threading

_PATIENCE = 2.0
"""Seconds that an export waits for a scan."""


class ScanRequests:
    """Any thread may ask; one thread scans."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._begun = self._done = 0
        self._wanted = 0
        self._is_over = False

    def wait(self) -> None:
        """Return when a scan is done that began after this call, none will be, or it takes too long."""
        with self._changed:
            number = self._wanted = self._begun + 1
            self._changed.wait_for(lambda: self._done >= number or self._is_over, _PATIENCE)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for a scan."""
        return self._wanted > self._begun

    def begin(self) -> None:
        """A scan begins."""
        self._begun += 1

    def end(self) -> None:
        """It is done."""
        with self._changed:
            self._done = self._begun
            self._changed.notify_all()

    def close(self) -> None:
        """There will be no further ones."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
