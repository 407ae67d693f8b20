"""A recording as a source."""

from __future__ import annotations

from otel_tcplife.replay import Replay, open_recording
from otel_tcplife.say import Say
from otel_tcplife.session import SessionBatch, empty

_LINES_SAID = 10


class ReplaySource:
    """Sessions of tcplife CSV; says which lines are unreadable, the first ones each by itself."""

    def __init__(self, path: str, say: Say) -> None:
        """Open the recording, `-` for standard input. Raise BadUsage where that is none."""
        self._say = say
        self._replay: Replay = open_recording(path, self._unreadable)
        self.can_wait = True
        self.pause = 0.0
        self.ended = False

    def read(self) -> SessionBatch:
        """The next sessions."""
        batch = self._replay.read()
        self.ended = self._replay.ended
        # A stream that has nothing ready is asked again a little later
        self.pause = 0.0 if len(batch) or self.ended else 0.05
        return batch

    def drain(self) -> SessionBatch:
        """Nothing: what was not read stays in the recording."""
        unreadable = self._replay.summary.unreadable
        if unreadable:
            self._say(f"{unreadable} of {self._replay.summary.lines} lines could not be read")
        return empty(0)

    def outcomes(self) -> dict[str, int]:
        """Lines by what became of them."""
        return {"submitted": self._replay.summary.sessions, "unreadable": self._replay.summary.unreadable}

    def seen(self) -> int:
        """Lines that should have been sessions."""
        return self._replay.summary.sessions + self._replay.summary.unreadable

    def active(self) -> int:
        """None is open: they have all ended long since."""
        return 0

    def close(self) -> None:
        """Close the recording."""
        self._replay.close()

    def _unreadable(self, line: int, reason: str) -> None:
        if self._replay.summary.unreadable <= _LINES_SAID:
            self._say(f"line {line}: {reason}")
