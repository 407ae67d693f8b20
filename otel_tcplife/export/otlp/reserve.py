"""Room on a disk that is held back for when the disk is full: a spool has to write even to take something out."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from otel_tcplife.export.otlp import own_files

_BYTES = 2 << 20


class Reserve:
    """A file that has this room, while there is any to be had."""

    def __init__(self, directory: Path) -> None:
        """Take the room."""
        self._directory = directory
        self._is_held = False
        self.hold()

    def hold(self) -> bool:
        """Take the room, unless it is taken, or there is none; return whether it is taken."""
        if not self._is_held:
            self._is_held = self._resize(_BYTES)
            if not self._is_held:
                self._resize(0)
        return self._is_held

    def give(self) -> bool:
        """Give the room back to the disk; return whether there was any."""
        was_held, self._is_held = self._is_held, False
        return self._resize(0) and was_held

    def _resize(self, size: int) -> bool:
        """Return whether it is so large now."""
        with suppress(OSError):
            file = own_files.open_file_of(self._directory, "spool.reserve")
            try:
                if size:
                    os.posix_fallocate(file, 0, size)
                else:
                    os.ftruncate(file, 0)
                return True
            finally:
                os.close(file)
        return False
