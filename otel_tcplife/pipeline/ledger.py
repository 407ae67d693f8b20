"""What became of every record after the probe: at the end, what a sink was given is the sum of its outcomes."""

from __future__ import annotations

import threading
from collections import Counter
from enum import Enum


class Outcome(Enum):
    """What became of a record; the value is that of `tcplife.outcome`."""

    EXPORTED = "exported"
    """The receiver took it."""
    REJECTED = "rejected"
    """The receiver, or the exporter itself, refused it for good."""
    DROPPED = "dropped"
    """There was no room to wait in for a receiver that was away or slower than the sessions."""
    DISABLED = "disabled"
    """The providers of the application take no logs."""
    UNSELECTED = "unselected"
    """The options of log records leave its session out."""
    SPOOLED = "spooled"
    """It was put on disk, and is counted again, as of the spool, when it leaves that."""
    DAMAGED = "damaged"
    """The disk did not give it back as it was."""
    UNSENT = "unsent"
    """It still waited when everything had to end."""


class Ledger:
    """Counts of records by sink and outcome. Threads may count at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Outcome]] = Counter()

    def count(self, sink: str, outcome: Outcome, records: int) -> None:
        """Book records of a sink."""
        if records:
            with self._lock:
                self._counts[sink, outcome] += records

    def totals(self) -> dict[tuple[str, Outcome], int]:
        """Records so far, by sink and outcome."""
        with self._lock:
            return dict(self._counts)
