"""Metrics at regular intervals, and once more at the end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.sdk.metrics.export import MetricsData

from otel_tcplife.errors import BadUsage
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.session import SessionBatch

_GRACE = 0.5
"""Seconds for the last export, also where the logs have taken all the time that there was."""


@dataclass(frozen=True)
class Exported:
    """What became of the data points of one collecting."""

    points: int
    undelivered: Sequence[int] = ()
    """The positions of those that the receiver has not taken."""
    failure: str = ""
    """Why not all were taken, or nothing."""
    is_worth_retrying: bool = False
    """Whether the receiver may take them soon."""
    is_kept: bool = False
    """Whether those that it may take soon are on disk for the next start."""
    rejected: int = 0
    """Those that the receiver has rejected."""


Export = Callable[[MetricsData], Exported]
"""Sends metrics."""

_FIRST_RETRY, _LAST_RETRY = 1.0, 5.0
"""Seconds after which what a receiver did not take is exported anew, twice as long after each further failure."""

_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
_TIMEOUT = "OTEL_METRIC_EXPORT_TIMEOUT"


def export_timeout(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds that collecting may take where the SDK does it: OTEL_METRIC_EXPORT_TIMEOUT has milliseconds."""
    return _seconds(environ, _TIMEOUT, "30000", "is no time")


def export_interval(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds between two exports: OTEL_METRIC_EXPORT_INTERVAL has milliseconds. Raise BadUsage if it is no such."""
    return _seconds(environ, _INTERVAL, "60000", "is no interval")


def _seconds(environ: Mapping[str, str], variable: str, default: str, problem: str) -> float:
    value = environ.get(variable, "").strip() or default
    try:
        milliseconds = float(value)
    except ValueError:
        milliseconds = 0
    if not 0 < milliseconds / 1000 <= threading.TIMEOUT_MAX:
        raise BadUsage(f"{variable}={value!r} {problem}", f"give a number of milliseconds, such as {default}")
    return milliseconds / 1000


class Aggregation(Protocol):
    """What adds sessions up."""

    def add(self, batch: SessionBatch) -> None:
        """Add them."""
        ...

    def add_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        """Add what sessions that go on have more than at the last scan."""
        ...

    def collect(self) -> MetricsData:
        """All metrics as they stand."""
        ...

    def put_back(self, undelivered: Iterable[int]) -> None:
        """Have these data points of the last collecting, by their position in it, come again with the next one."""
        ...


class Pace:
    """When to export anew: at each interval, and sooner what a receiver may take soon."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._retry_after = _FIRST_RETRY

    def wait_after(self, exported: Exported) -> float:
        """Seconds until the next export."""
        if not exported.is_worth_retrying:
            self._retry_after = _FIRST_RETRY
            return self._interval
        wait = self._retry_after
        self._retry_after = min(2 * wait, _LAST_RETRY)
        return min(wait, self._interval)


class PeriodicReader:
    """An inline sink whose metrics a thread collects and exports."""

    def __init__(
        self,
        aggregation: Aggregation,
        export: Export,
        interval: float,
        deadline: Deadline,
        *,
        target: str,
        give_up: Callable[[], None],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """`interval` in seconds; `target` is for the eyes of the user; `give_up` ends an export that takes too long.

        `before` is called before each collecting.
        """
        self._before = before
        self._aggregation = aggregation
        self._export = export
        self._give_up = give_up
        self._interval = interval
        self._deadline = deadline
        self._failures = FailureLog(f"export metrics to {target}")
        self._final = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tcplife-metrics", daemon=True)
        self._thread.start()

    def add(self, batch: SessionBatch) -> None:
        """Add sessions up."""
        self._aggregation.add(batch)

    def add_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        """Add what sessions that go on have more than at the last scan."""
        self._aggregation.add_open(batch, is_last=is_last)

    def shutdown(self, deadline: Deadline) -> None:
        """Export once more, when all sessions were added, while there is time."""
        self._final.set()
        self._thread.join(deadline.remaining + _GRACE)
        self._give_up()
        if self._thread.is_alive():
            self._failures.failed("it takes too long", "the last metrics are lost")

    def _run(self) -> None:
        pace = Pace(self._interval)
        wait = self._interval
        while not self._final.wait(wait):
            exported = self._once()
            self._log(exported, "trying again")
            wait = pace.wait_after(exported)
        self._finish()

    def _finish(self) -> None:
        """Export what has come last; try again as long as there is time."""
        while (exported := self._once()).is_worth_retrying and self._deadline.remaining > _GRACE:
            time.sleep(_GRACE)
        self._log(exported, "they are kept for the next start" if exported.is_kept else "the last metrics are lost")

    def _log(self, exported: Exported, consequence: str) -> None:
        """`consequence` is of what the receiver has not taken."""
        if not exported.failure:
            self._failures.recovered()
        elif exported.points and not exported.undelivered:
            self._failures.failed(exported.failure, f"{exported.rejected} data points rejected")
        else:
            self._failures.failed(exported.failure, consequence)

    def _once(self) -> Exported:
        try:
            self._before()
            exported = self._export(self._aggregation.collect())
            self._aggregation.put_back(exported.undelivered)
        except Exception as error:  # noqa: BLE001 the next time it may do, and the thread must live to try that
            return Exported(0, failure=f"{type(error).__name__}: {error}")
        return exported
