"""Metrics straight from the columns: each batch is added to the histograms in a handful of NumPy operations."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import AttributeValue

from otel_tcplife import conventions
from otel_tcplife.conventions import CounterMetric
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.metrics.window import Point, Window
from otel_tcplife.host import UNKNOWN_HOST, Host
from otel_tcplife.pipeline.counters import Totals
from otel_tcplife.session import SessionBatch, concatenated, ended
from otel_tcplife.version import __version__

_COUNTED_TOGETHER = 4096
"""Counting fewer costs nearly as much."""


class _Key(NamedTuple):
    """One data point of a counter."""

    counter: CounterMetric
    attributes: frozenset[tuple[str, AttributeValue]]


class _Counted(NamedTuple):
    """A counter as it was exported last."""

    total: float
    at: int


class Aggregator:
    """Histograms of all sessions added, and the counters beside them. Threads may add and collect at once.

    Where delta is preferred, what was collected is gone, unless it is put back because it was not delivered.
    """

    def __init__(
        self,
        resource: Resource,
        preference: Preference,
        counters: Mapping[CounterMetric, Totals],
        host: Host = UNKNOWN_HOST,
    ) -> None:
        self._resource = resource
        self._preference = preference
        self._counters = counters
        self._host = host
        self._lock = threading.Lock()
        self._pending: list[SessionBatch] = []
        self._started = time.time_ns()
        self._window = self._collected_window = self._new_window(self._started)
        self._counted: dict[_Key, _Counted] = {}
        self._collected: list[Point | tuple[_Key, _Counted | None]] = []
        """Where each data point of the last collecting comes from; of a counter, with what was exported before."""

    def _new_window(self, start: int) -> Window:
        return Window(self._host, start, exponential=self._preference.exponential)

    def add(self, batch: SessionBatch) -> None:
        """Count each session of the batch, when there are some thousands to be counted together, or in collect()."""
        with self._lock:
            self._pending.append(ended(batch))
            if sum(map(len, self._pending)) >= _COUNTED_TOGETHER:
                self._count()

    def _count(self) -> None:
        batch = concatenated(self._pending)
        self._pending.clear()
        if len(batch):
            self._window.add(batch)

    def collect(self) -> MetricsData:
        """All metrics as they stand now, or what was added since the last call where delta is preferred."""
        now = time.time_ns()
        with self._lock:
            self._count()
            self._collected = [*self._window.points()]
            metrics = [*self._histograms(now), *(self._counter(counter, now) for counter in self._counters)]
            self._collected_window = self._window
            if self._preference.delta_histograms:
                self._window = self._new_window(now)
        scope = InstrumentationScope(conventions.SCOPE, __version__)
        present = [metric for metric in metrics if metric.data.data_points]
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(scope, present, "")], "")])

    def put_back(self, undelivered: Iterable[int]) -> None:
        """Have these data points of the last collecting, by their position in it, come again with the next one."""
        with self._lock:
            sources = [self._collected[position] for position in undelivered]
            if self._preference.delta_histograms:
                points = [source for source in sources if isinstance(source, Point)]
                self._window.take_over(self._collected_window, points)
            for source in sources:
                if not isinstance(source, Point):
                    self._put_counter_back(*source)

    def _put_counter_back(self, key: _Key, before: _Counted | None) -> None:
        if before is None:
            self._counted.pop(key, None)
        else:
            self._counted[key] = before

    def _histograms(self, now: int) -> Iterable[Metric]:
        delta = self._preference.delta_histograms
        return self._window.metrics(now, AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE)

    def _counter(self, counter: CounterMetric, now: int) -> Metric:
        delta = self._preference.delta_counters and counter.monotonic
        points: list[NumberDataPoint] = []
        for attributes, total in self._counters[counter]():
            key = _Key(counter, frozenset(attributes.items()))
            before = self._counted.get(key)
            self._collected.append((key, before))
            since = before if delta and before else _Counted(0, self._started)
            points.append(NumberDataPoint(attributes, since.at, now, total - since.total))
            self._counted[key] = _Counted(total, now)
        temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
        data = Sum(points, temporality, is_monotonic=counter.monotonic)
        return Metric(counter.name, counter.brief, counter.unit, data)
