"""A sink that exports again what another one cannot deliver at present."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping

from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.sink import NotNow, Sink
from otel_tcplife.session import SessionBatch

_LONGEST_ASKED = 300.0
"""Seconds; a receiver that asks for more is asked again sooner."""
_LONGEST_UNDER_PRESSURE = 5.0
"""Seconds, however long the receiver asks to wait, where there will soon be no room for what comes."""
_LAST_WAIT = 0.5
"""Seconds between two tries once the deadline is set."""


class Backoff:
    """How long to wait after each failure: a second, twice as long after each further one, up to five."""

    first, longest = 1.0, 5.0

    def __init__(self, deadline: Deadline, is_pressed: Callable[[], bool]) -> None:
        """`is_pressed` says whether there is little room left for what comes while it waits."""
        self._deadline = deadline
        self._is_pressed = is_pressed
        self._next = self.first

    def reset(self) -> None:
        """It works: the next failure is a first one."""
        self._next = self.first

    def wait(self, asked: float | None) -> None:
        """Wait for what the receiver asked, or for our own time; once the deadline is set, for a moment only."""
        own = self._next * random.uniform(0.8, 1.0)
        self._next = min(2 * self._next, self.longest)
        longest = max(own, min(asked or 0, _LONGEST_ASKED))
        waited = 0.0
        while (left := self._limit(longest) - waited) > 0:
            step = min(left, 1.0)
            if self._deadline.wait(step):
                time.sleep(min(_LAST_WAIT, self._deadline.remaining))
                return
            waited += step

    def _limit(self, longest: float) -> float:
        return min(longest, _LONGEST_UNDER_PRESSURE) if self._is_pressed() else longest


class RetryingSink:
    """Tries until the sink within it has delivered or refused a batch, or until everything must have ended."""

    def __init__(self, sink: Sink, deadline: Deadline, is_pressed: Callable[[], bool] = lambda: False) -> None:
        """`is_pressed` says whether there is little room left for what comes while it waits."""
        self._sink = sink
        self._deadline = deadline
        self._is_pressed = is_pressed
        self._failures = FailureLog(sink.task)

    def export(self, batch: SessionBatch) -> Iterator[Mapping[Outcome, int]]:
        """Export the batch until it is delivered, and tell what becomes of its records as soon as that is known.

        What is not delivered in time is unsent. Raise RuntimeError where the sink does not account for all.
        """
        backoff = Backoff(self._deadline, self._is_pressed)
        while self._deadline.remaining:
            try:
                outcomes = self._sink.export(batch)
            except NotNow as failure:
                _check(batch, failure.outcomes, len(failure.left))
                yield failure.outcomes
                batch = failure.left
                if failure.outcomes:
                    backoff.reset()
                self._failures.failed(failure.reason, "retrying")
                backoff.wait(failure.after)
            else:
                _check(batch, outcomes)
                self._failures.recovered()
                yield outcomes
                return
        yield {Outcome.UNSENT: len(batch)}


def _check(batch: SessionBatch, outcomes: Mapping[Outcome, int], left: int = 0) -> None:
    if sum(outcomes.values()) + left != len(batch):
        raise RuntimeError(f"{len(batch)} sessions became {dict(outcomes)}, and {left} are left")
