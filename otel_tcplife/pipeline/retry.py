"""A sink that exports again what another one cannot deliver at present."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.sink import NotNow, Sink
from otel_tcplife.session import SessionBatch

_LONGEST_ASKED = 300.0
"""Seconds; a receiver that asks for more is asked again sooner."""
_LAST_WAIT = 0.5
"""Seconds between two tries once the deadline is set."""


@dataclass(frozen=True)
class Backoff:
    """Seconds to wait after the first failure, twice as long after each further one, up to the longest."""

    first: float = 1.0
    longest: float = 30.0


class RetryingSink:
    """Tries until the sink within it has delivered or refused a batch, or until everything must have ended."""

    def __init__(self, sink: Sink, what: str, deadline: Deadline, backoff: Backoff = Backoff()) -> None:
        """`what` is what fails, as in "cannot <what>"."""
        self._sink = sink
        self._deadline = deadline
        self._backoff = backoff
        self._failures = FailureLog(what)

    @property
    def name(self) -> str:
        """That of the sink within it."""
        return self._sink.name

    @property
    def max_export_batch_size(self) -> int:
        """That of the sink within it."""
        return self._sink.max_export_batch_size

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        """Export the batch until it is delivered; what is not in time is unsent."""
        wait = self._backoff.first
        while self._deadline.remaining:
            try:
                outcomes = self._sink.export(batch)
            except NotNow as failure:
                self._failures.failed(failure.reason, "retrying")
                self._wait(max(wait * random.uniform(0.8, 1.2), min(failure.after or 0, _LONGEST_ASKED)))
                wait = min(2 * wait, self._backoff.longest)
            else:
                self._failures.recovered()
                return outcomes
        return {Outcome.UNSENT: len(batch)}

    def shutdown(self, deadline: Deadline) -> None:
        """Shut the sink within it down."""
        self._sink.shutdown(deadline)

    def _wait(self, seconds: float) -> None:
        """Wait so long, or for a moment once the deadline is set: there is only little time left then."""
        if self._deadline.wait(seconds):
            time.sleep(min(_LAST_WAIT, self._deadline.remaining))
