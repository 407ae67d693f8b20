"""Logs that sessions are being lost while they are, and what helps, instead of at the end only."""

from __future__ import annotations

import time
from collections.abc import Callable

from otel_tcplife.environment_variables import OTEL_PYTHON_TCPLIFE_MAX_SESSIONS, OTEL_PYTHON_TCPLIFE_RING_BYTES
from otel_tcplife.options import MAX_TRACED_PROCESSES
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Ledger, Outcome
from otel_tcplife.pipeline.source import Stats

_LOOK_EVERY = 5.0
"""Seconds; of what was lost in one of them, the next tells that it is over."""

_IN_THE_KERNEL = {
    "ring_full": ("read all sessions in time", f"a larger {OTEL_PYTHON_TCPLIFE_RING_BYTES} helps"),
    "map_full": ("follow all sessions that are open", f"a larger {OTEL_PYTHON_TCPLIFE_MAX_SESSIONS} helps"),
}
"""Of each outcome that is a loss for want of room: what cannot be done, and what helps."""


class LossWatch:
    """Looks at the counts of what was lost, now and then."""

    def __init__(self, stats: Callable[[], Stats], ledger: Ledger) -> None:
        self._stats = stats
        self._ledger = ledger
        self._next_look = time.monotonic() + _LOOK_EVERY
        self._before: dict[str, int] = {}
        self._failure_logs: dict[str, FailureLog] = {}

    def look(self) -> None:
        """Look, if it is time to."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY
        stats = self._stats()
        for outcome, (what, helps) in _IN_THE_KERNEL.items():
            self._compare(outcome, stats.outcomes.get(outcome, 0), what, helps)
        forks = "trace all processes that the application forks"
        self._compare("untraced", stats.untraced, forks, f"there is room for {MAX_TRACED_PROCESSES} at once")
        for (sink, outcome), count in self._ledger.totals().items():
            if outcome is Outcome.DROPPED:
                self._compare(sink, count, f"hand all sessions to {sink}", "they come faster than it takes them")

    def _compare(self, name: str, count: int, what: str, helps: str) -> None:
        lost = count - self._before.get(name, 0)
        self._before[name] = count
        failures = self._failure_logs.setdefault(name, FailureLog(what))
        if lost:
            failures.failed(f"{lost} lost in {_LOOK_EVERY:.0f} s", helps)
        else:
            failures.recovered()
