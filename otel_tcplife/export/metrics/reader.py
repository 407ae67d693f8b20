"""Metrics at regular intervals, and once more at the end."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from otel_tcplife.errors import BadUsage
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.printable import one_line
from otel_tcplife.session import SessionBatch

Export = Callable[[MetricsData], str]
"""Sends metrics; returns why that failed, or nothing."""

_GRACE = 0.5
"""Seconds for an export that is given up to say why it had failed."""

_LONGEST_REASON = 300
_NO_REASON = "it gave no reason"

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

    def collect(self) -> MetricsData:
        """All metrics as they stand."""
        ...


class PeriodicReader:
    """An inline sink whose metrics a thread collects and exports."""

    def __init__(
        self,
        aggregation: Aggregation,
        export: Export,
        interval: float,
        *,
        target: str,
        give_up: Callable[[], None],
    ) -> None:
        """`interval` in seconds; `target` is for the eyes of the user; `give_up` ends an export that takes too long."""
        self._aggregation = aggregation
        self._export = export
        self._give_up = give_up
        self._interval = interval
        self._failures = FailureLog(f"export metrics to {target}")
        self._final = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tcplife-metrics", daemon=True)
        self._thread.start()

    def add(self, batch: SessionBatch) -> None:
        """Add sessions up."""
        self._aggregation.add(batch)

    def shutdown(self, deadline: Deadline) -> None:
        """Export once more, when all sessions were added, while there is time."""
        self._final.set()
        self._thread.join(max(deadline.remaining - _GRACE, 0))
        self._give_up()
        self._thread.join(_GRACE)
        if self._thread.is_alive():
            self._failures.failed("it takes too long", "the last metrics are lost")

    def _run(self) -> None:
        while not self._final.wait(self._interval):
            self._once()
        self._once()

    def _once(self) -> None:
        try:
            failure = self._export(self._aggregation.collect())
        except Exception as error:  # noqa: BLE001 the next time it may do, and the thread must live to try that
            failure = f"{type(error).__name__}: {error}"
        if failure:
            last = self._final.is_set()
            self._failures.failed(failure, "the last metrics are lost" if last else "trying again at each interval")
        else:
            self._failures.recovered()


def through_exporter(exporter: MetricExporter, hide: Callable[[str], str]) -> Export:
    """The exporter of an SDK, whose complaints become the reason of its failure instead of lines in a log.

    `hide` takes what is secret out of them.
    """
    last = _LastWarning()
    logger = logging.getLogger("opentelemetry.exporter")
    logger.addHandler(last)
    logger.propagate = False

    def export(data: MetricsData) -> str:
        last.text = ""
        try:
            done = exporter.export(data)
        except Exception as error:  # noqa: BLE001 an exporter is a stranger's code, and must not end the thread
            return one_line(hide(f"{type(error).__name__}: {error}"), _LONGEST_REASON)
        return "" if done is MetricExportResult.SUCCESS else one_line(hide(last.text), _LONGEST_REASON) or _NO_REASON

    return export


class _LastWarning(logging.Handler):
    """Keeps the last message."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()
