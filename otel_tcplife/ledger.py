"""What became of every record after the probe: at the end, what a consumer took is the sum of its outcomes."""

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
    UNSENT = "unsent"
    """It still waited when the agent had to stop."""


class Ledger:
    """Counts of records by consumer and outcome. Threads may count at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Outcome]] = Counter()
        self._settled: set[str] = set()

    def count(self, consumer: str, outcome: Outcome, records: int) -> None:
        """Book records of a consumer; too late once it is settled."""
        with self._lock:
            if consumer not in self._settled:
                self._counts[consumer, outcome] += records

    def settle(self, consumer: str, taken: int) -> None:
        """Close the account of a consumer: of all records that it has taken, those not booked yet are unsent."""
        with self._lock:
            self._settled.add(consumer)
            unsent = taken - sum(count for (name, _), count in self._counts.items() if name == consumer)
            if unsent:
                self._counts[consumer, Outcome.UNSENT] += unsent

    def handled(self, consumer: str) -> int:
        """Records that a consumer has booked itself: all but those that found no room to wait in."""
        with self._lock:
            return sum(
                count
                for (name, outcome), count in self._counts.items()
                if name == consumer and outcome is not Outcome.DROPPED
            )

    def totals(self) -> dict[tuple[str, Outcome], int]:
        """Records so far, by consumer and outcome."""
        with self._lock:
            return dict(self._counts)
