"""A recording as a source."""

from __future__ import annotations

from otel_tcplife.log import logger
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.replay.recording import open_recording
from otel_tcplife.session import SessionBatch, empty

_PAUSE = 0.05


class ReplaySource:
    """Sessions that tcplife printed; says which lines are unreadable, the first ones each by itself, then how many."""

    can_wait = True

    def __init__(self, path: str) -> None:
        """Open the recording, `-` for standard input. Raise BadUsage where that is none, as read() does of a stream."""
        self._replay = open_recording(path)
        self._summary = self._replay.summary
        self._logged = 0
        self.pause = 0.0
        self.ended = False

    def read(self) -> SessionBatch:
        """The next sessions."""
        batch = self._replay.read()
        if self._replay.begun:  # until then it may be no recording at all, which is one line
            self._log_reasons()
        self.ended = self._replay.ended
        # A stream that has nothing ready is asked again a little later
        self.pause = 0.0 if len(batch) or self.ended else _PAUSE
        return batch

    def drain(self) -> SessionBatch:
        """Nothing: what was not read stays in the recording."""
        self._log_reasons()
        if self._summary.unreadable:
            logger.warning("%d of %d lines could not be read", self._summary.unreadable, self._summary.lines)
        if self._summary.too_large:
            consequence = "have sizes of 2^63 bytes or more, which OTLP cannot hold: these sizes are left out"
            logger.warning("%d sessions %s", self._summary.too_large, consequence)
        return empty(0)

    def stats(self) -> Stats:
        """Lines by what became of them; of those, all that should have been sessions count as seen."""
        summary = self._summary
        outcomes = {"submitted": summary.sessions, "unreadable": summary.unreadable}
        return Stats(outcomes, summary.sessions + summary.unreadable)

    def close(self) -> None:
        """Close the recording."""
        self._replay.close()

    def _log_reasons(self) -> None:
        for line, reason in self._summary.reasons[self._logged :]:
            logger.warning("line %d: %s", line, reason)
        self._logged = len(self._summary.reasons)
