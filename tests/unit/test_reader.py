"""Metrics go out at each interval and once more at the end, whatever the exporter does; a failure is logged once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.metrics.reader import Export, PeriodicReader, export_interval, through_exporter
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.session import SessionBatch

pytestmark = pytest.mark.usefixtures("exporter_logger_kept")

INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
NO_METRICS = MetricsData([])
GRACE = "otel_tcplife.export.metrics.reader._GRACE"


@pytest.fixture(autouse=True)
def all_threads_end() -> Iterator[None]:
    """What one of them logs later would be taken for a line of the next test."""
    yield
    for thread in threading.enumerate():
        if thread.name == "tcplife-metrics":
            thread.join()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 60), ("", 60), (" ", 60), ("60000", 60), (" 100 ", 0.1), ("0.5", 0.0005), ("1e3", 1)],
)
def test_interval(text: str | None, seconds: float) -> None:
    assert export_interval({} if text is None else {INTERVAL: text}) == seconds


@pytest.mark.parametrize("bad", ["0", "-1", "x", "60s", "nan", "inf", "-inf", "1e400"])
def test_no_interval(bad: str) -> None:
    with pytest.raises(BadUsage) as raised:
        export_interval({INTERVAL: bad})
    assert str(raised.value) == f"{INTERVAL}={bad!r} is no interval; give a number of milliseconds, such as 60000"


class DeadlineWith(Deadline):
    """One that has so many seconds left, whatever the time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._seconds = seconds

    @property
    def remaining(self) -> float:
        return self._seconds


class Exporting:
    """A reader that calls `export` with the number of the call, from 0; its collecting counts too."""

    def __init__(self, export: Callable[[int], str], interval: float, *, left: float = 1e6) -> None:
        self.collected = 0
        self.exported = 0
        self.given_up = threading.Event()
        self._export = export
        self._deadline = DeadlineWith(left)
        self._reader = PeriodicReader(self, self._send, interval, target="there", give_up=self.given_up.set)

    def finish(self) -> None:
        self._reader.shutdown(self._deadline)

    def add(self, batch: SessionBatch) -> None:
        raise NotImplementedError

    def collect(self) -> MetricsData:
        self.collected += 1
        return NO_METRICS

    def _send(self, data: MetricsData) -> str:
        assert data is NO_METRICS
        self.exported += 1
        return self._export(self.exported - 1)


def test_the_last_export_comes_at_the_end(logged: list[str]) -> None:
    exporting = Exporting(lambda _: "", 3600)
    assert exporting.exported == 0
    exporting.finish()
    assert (exporting.collected, exporting.exported) == (1, 1)
    assert logged == []


def test_an_export_at_each_interval_and_at_the_end() -> None:
    third = threading.Event()

    def export(number: int) -> str:
        if number == 2:
            third.set()
        return ""

    exporting = Exporting(export, 0.001)
    third.wait()
    exporting.finish()
    assert exporting.collected == exporting.exported >= 4


def test_a_failure_is_logged_once_and_once_that_it_is_over(logged: list[str]) -> None:
    again = threading.Event()

    def export(number: int) -> str:
        if number == 8:
            again.set()
        return f"reason {number}" if number in (1, 2, 3, 7) else ""

    exporting = Exporting(export, 0.001)
    again.wait()
    exporting.finish()
    assert logged == [
        "cannot export metrics to there: reason 1; trying again at each interval",
        "can export metrics to there again",
        "cannot export metrics to there: reason 7; trying again at each interval",
        "can export metrics to there again",
    ]


def test_what_hangs_at_the_stop_is_given_up_and_says_why(monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    monkeypatch.setattr(GRACE, 3600.0)

    def export(_: int) -> str:
        exporting.given_up.wait()
        return "given up"

    exporting = Exporting(export, 3600, left=1.0)
    exporting.finish()
    assert logged == ["cannot export metrics to there: given up; the last metrics are lost"]


def test_what_hangs_on_is_left_behind(monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    monkeypatch.setattr(GRACE, 0.01)
    release = threading.Event()

    def export(_: int) -> str:
        release.wait()
        return ""

    exporting = Exporting(export, 3600, left=0.02)
    exporting.finish()
    said = [*logged]
    release.set()
    assert exporting.given_up.is_set()
    assert said == ["cannot export metrics to there: it takes too long; the last metrics are lost"]


# The exporters of an SDK


class Exporter(MetricExporter):
    """Does what a test has it do."""

    def __init__(self, act: Callable[[], MetricExportResult]) -> None:
        super().__init__()
        self._act = act

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        assert metrics_data is NO_METRICS
        return self._act()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing to end."""


def exporter_that(*acts: Callable[[], MetricExportResult]) -> Export:
    """Does one after the other."""
    remaining = list(acts)
    return through_exporter(Exporter(lambda: remaining.pop(0)()), lambda text: text.replace("s3cret", "..."))


def succeed() -> MetricExportResult:
    return MetricExportResult.SUCCESS


def fail() -> MetricExportResult:
    return MetricExportResult.FAILURE


def fail_aloud() -> MetricExportResult:
    logging.getLogger("opentelemetry.exporter.otlp.proto.http").warning("Transient error %s,\n retrying", "Busy")
    logging.getLogger("opentelemetry.exporter.otlp.proto.http").error("Failed to\nexport: %s", "x" * 1000)
    return MetricExportResult.FAILURE


def fail_with_a_secret() -> MetricExportResult:
    logging.getLogger("opentelemetry.exporter.otlp.proto.http").error("Failed to export: \x1b[2J%s", "s3cret")
    return MetricExportResult.FAILURE


def raise_with_a_secret() -> MetricExportResult:
    raise RuntimeError("no\ns3cret \u202e")


def blow_up() -> MetricExportResult:
    raise RuntimeError("no such luck")


def test_the_last_complaint_of_an_exporter_is_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    export = exporter_that(succeed, fail_aloud, fail, succeed)
    reasons = [export(NO_METRICS) for _ in range(4)]
    complaint = "Failed to export: "
    assert reasons == ["", complaint + "x" * (297 - len(complaint)) + "...", "it gave no reason", ""]
    assert not caplog.records


def test_the_reason_is_printable_and_without_secrets() -> None:
    export = exporter_that(fail_with_a_secret, raise_with_a_secret)
    assert [export(NO_METRICS) for _ in range(2)] == [
        "Failed to export: \ufffd[2J...",
        "RuntimeError: no ... \ufffd",
    ]


def test_an_exporter_that_raises_is_asked_again(logged: list[str]) -> None:
    export = exporter_that(blow_up, blow_up, succeed)
    over = threading.Event()

    def send(number: int) -> str:
        if number > 2:
            over.set()
            return ""
        return export(NO_METRICS)

    exporting = Exporting(send, 0.001)
    over.wait()
    exporting.finish()
    assert logged == [
        "cannot export metrics to there: RuntimeError: no such luck; trying again at each interval",
        "can export metrics to there again",
    ]
