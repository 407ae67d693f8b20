"""Metrics go out at each interval and once more at the end, whatever the exporter does; a failure is logged once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.metrics.reader import Exported, Pace, PeriodicReader, export_interval
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.session import SessionBatch

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


DELIVERED = Exported(1)


def failed(reason: str, *, is_worth_retrying: bool = False) -> Exported:
    return Exported(1, (0,), reason, is_worth_retrying)


class Exporting:
    """A reader that calls `export` with the number of the call, from 0; its collecting counts too."""

    def __init__(self, export: Callable[[int], Exported], interval: float, *, left: float = 1e6) -> None:
        self.collected = 0
        self.exported = 0
        self.put_back_: list[list[int]] = []
        self.given_up = threading.Event()
        self._export = export
        self._deadline = DeadlineWith(left)
        self._reader = PeriodicReader(
            self, self._send, interval, self._deadline, target="there", give_up=self.given_up.set
        )

    def finish(self) -> None:
        self._reader.shutdown(self._deadline)

    def add(self, batch: SessionBatch) -> None:
        raise NotImplementedError

    def add_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        raise NotImplementedError

    def collect(self) -> MetricsData:
        self.collected += 1
        return NO_METRICS

    def put_back(self, undelivered: Iterable[int]) -> None:
        self.put_back_.append([*undelivered])

    def _send(self, data: MetricsData) -> Exported:
        assert data is NO_METRICS
        self.exported += 1
        return self._export(self.exported - 1)


def test_the_last_export_comes_at_the_end(logged: list[str]) -> None:
    exporting = Exporting(lambda _: DELIVERED, 3600)
    assert exporting.exported == 0
    exporting.finish()
    assert (exporting.collected, exporting.exported) == (1, 1)
    assert logged == []


def test_an_export_at_each_interval_and_at_the_end() -> None:
    third = threading.Event()

    def export(number: int) -> Exported:
        if number == 2:
            third.set()
        return DELIVERED

    exporting = Exporting(export, 0.001)
    third.wait()
    exporting.finish()
    assert exporting.collected == exporting.exported >= 4


@pytest.mark.parametrize("is_worth_retrying", [False, True])
def test_a_failure_is_logged_once_and_once_that_it_is_over(is_worth_retrying: bool, logged: list[str]) -> None:
    again = threading.Event()

    def export(number: int) -> Exported:
        if number == 8:
            again.set()
        fails = number in (1, 2, 3, 7)
        return failed(f"reason {number}", is_worth_retrying=is_worth_retrying) if fails else DELIVERED

    exporting = Exporting(export, 0.001)
    again.wait()
    exporting.finish()
    assert logged == [
        "cannot export metrics to there: reason 1; trying again",
        "can export metrics to there again",
        "cannot export metrics to there: reason 7; trying again",
        "can export metrics to there again",
    ]
    assert exporting.put_back_[:9] == [[0] if number in (1, 2, 3, 7) else [] for number in range(9)]


@pytest.mark.parametrize(("interval", "waits"), [(60, [1, 2, 4, 5, 5, 60, 1]), (3, [1, 2, 3, 3, 3, 3, 1])])
def test_what_a_receiver_may_take_soon_does_not_wait_for_the_interval(interval: float, waits: list[float]) -> None:
    pace, away = Pace(interval), failed("away", is_worth_retrying=True)
    assert [pace.wait_after(each) for each in [*[away] * 5, DELIVERED, away]] == waits
    assert pace.wait_after(failed("bad")) == interval


def test_the_last_export_is_tried_again_as_long_as_there_is_time(logged: list[str]) -> None:
    exporting = Exporting(
        lambda number: failed("away", is_worth_retrying=True) if number < 2 else DELIVERED, 3600, left=1e6
    )
    exporting.finish()
    assert exporting.exported == 3
    assert logged == []


def test_the_last_export_that_fails_says_what_is_lost(logged: list[str]) -> None:
    exporting = Exporting(lambda _: failed("away", is_worth_retrying=True), 3600, left=0.4)
    exporting.finish()
    assert exporting.exported == 1
    assert logged == ["cannot export metrics to there: away; the last metrics are lost"]


def test_what_hangs_on_is_left_behind(monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    monkeypatch.setattr(GRACE, 0.01)
    release = threading.Event()

    def export(_: int) -> Exported:
        release.wait()
        return DELIVERED

    exporting = Exporting(export, 3600, left=0.02)
    exporting.finish()
    said = [*logged]
    release.set()
    assert exporting.given_up.is_set()
    assert said == ["cannot export metrics to there: it takes too long; the last metrics are lost"]


def test_what_raises_is_tried_again(logged: list[str]) -> None:
    over = threading.Event()

    def export(number: int) -> Exported:
        if number > 2:
            over.set()
            return DELIVERED
        raise RuntimeError("no such luck")

    exporting = Exporting(export, 0.001)
    over.wait()
    exporting.finish()
    assert logged == [
        "cannot export metrics to there: RuntimeError: no such luck; trying again",
        "can export metrics to there again",
    ]
