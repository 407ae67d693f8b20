"""A recording as a source."""

from __future__ import annotations

from otel_tcplife.replay.recording import open_recording
from otel_tcplife.say import Say
from otel_tcplife.session import SessionBatch, empty

_PAUSE = 0.05


class ReplaySource:
    """Sessions that tcplife printed; says which lines are unreadable, the first ones each by itself, then how many."""

    can_wait = True

    def __init__(self, path: str, say: Say) -> None:
        """Open the recording, `-` for standard input. Raise BadUsage where that is none, as read() does of a stream."""
        self._say = say
        self._replay = open_recording(path)
        self._summary = self._replay.summary
        self._said = 0
        self.pause = 0.0
        self.ended = False

    def read(self) -> SessionBatch:
        """The next sessions."""
        batch = self._replay.read()
        if self._replay.begun:  # until then it may be no recording at all, which is one line
            self._say_reasons()
        self.ended = self._replay.ended
        # A stream that has nothing ready is asked again a little later
        self.pause = 0.0 if len(batch) or self.ended else _PAUSE
        return batch

    def drain(self) -> SessionBatch:
        """Nothing: what was not read stays in the recording."""
        self._say_reasons()
        if self._summary.unreadable:
            self._say(f"{self._summary.unreadable} of {self._summary.lines} lines could not be read")
        if self._summary.too_large:
            told = "have sizes of 2^63 bytes or more, which OTLP cannot hold: these sizes are left out"
            self._say(f"{self._summary.too_large} sessions {told}")
        return empty(0)

    def outcomes(self) -> dict[str, int]:
        """Lines by what became of them."""
        return {"submitted": self._summary.sessions, "unreadable": self._summary.unreadable}

    def seen(self) -> int:
        """Lines that should have been sessions."""
        return self._summary.sessions + self._summary.unreadable

    def reports(self) -> int:
        """None: recordings have ends only."""
        return 0

    def missed(self) -> int:
        """None: a recording has what it has."""
        return 0

    def active(self) -> int:
        """None is open: they have all ended long since."""
        return 0

    def close(self) -> None:
        """Close the recording."""
        self._replay.close()

    def _say_reasons(self) -> None:
        for line, reason in self._summary.reasons[self._said :]:
            self._say(f"line {line}: {reason}")
        self._said = len(self._summary.reasons)
