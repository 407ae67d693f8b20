"""Metrics straight from the columns: each batch is added to the histograms in a handful of NumPy operations."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import AttributeValue

from otel_tcplife import conventions
from otel_tcplife.export.metrics.keys import Attributes
from otel_tcplife.export.metrics.open_sessions import OpenSessions
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.metrics.window import Point, Window
from otel_tcplife.export.resource import Resources
from otel_tcplife.host import THE_HOST, UNKNOWN_HOST, Entity, Host
from otel_tcplife.instruments import ACTIVE, CounterMetric
from otel_tcplife.own_metrics import OPERATION_DURATION
from otel_tcplife.pipeline.counters import Totals
from otel_tcplife.pipeline.self_telemetry import Durations, SelfTelemetry
from otel_tcplife.session import SessionBatch, concatenated, ended
from otel_tcplife.version import __version__

FORGET_AFTER = 900.0
"""Seconds without a session after which the series of an entity end. If it comes back, they begin anew."""

_COUNTED_TOGETHER = 8192
"""Counting fewer costs nearly as much."""


class _Key(NamedTuple):
    """One data point of a counter, or of the durations of exports."""

    metric: str
    attributes: frozenset[tuple[str, AttributeValue]]


class _Counted(NamedTuple):
    """What was exported last of one that only grows."""

    total: float | Durations
    at: int


_Active = Mapping[Entity, Sequence[tuple[Attributes, int]]]


class Aggregator:
    """Histograms and sums of all sessions added, and the counters beside them. Threads may add and collect at once.

    Where delta is preferred, what was collected is gone, unless it is put back because it was not delivered.
    """

    def __init__(
        self,
        resources: Resources,
        preference: Preference,
        counters: Mapping[CounterMetric, Totals],
        host: Host = UNKNOWN_HOST,
        itself: SelfTelemetry | None = None,
    ) -> None:
        """`itself` is what is exported besides, of the tracer."""
        self._resources = resources
        self._preference = preference
        self._counters = {**counters, **(itself.counters() if itself else {})}
        self._itself = itself
        self._host = host
        self._lock = threading.Lock()
        self._pending: list[SessionBatch] = []
        self._started = self._last_collected = time.time_ns()
        self._window = self._collected_window = self._new_window(self._started)
        self._counted: dict[_Key, _Counted] = {}
        self._begun: dict[_Key, int] = {}
        """When each data point of a counter begins, in Unix ns: the last collecting before it was first there."""
        self._collected: list[Point | tuple[_Key, _Counted | None] | None] = []
        """Where each data point of the last collecting comes from; of a counter, with what was exported before.

        None where the next collecting has it anyway.
        """
        self._open = OpenSessions(host)
        self._busy: dict[Entity, float] = {}
        """When a session of an entity was last added, in seconds of time.monotonic()."""
        self._changed: set[Entity] = set()
        """Those that sessions were added of since the last collecting."""
        self._undelivered: set[Entity] | None = None
        """Those that not all was delivered of which was collected last; None where that is not known."""

    def _new_window(self, start: int) -> Window:
        return Window(self._host, start, exponential=self._preference.exponential)

    def add(self, batch: SessionBatch) -> None:
        """Count each session of the batch, when there are some thousands to be counted together, or in collect()."""
        with self._lock:
            self._pending.append(ended(batch))
            if sum(map(len, self._pending)) >= _COUNTED_TOGETHER:
                self._count()

    def add_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        """Count what sessions that go on have more than at the last scan, and how many they are.

        The batches of a scan follow one another, the last of which may be empty.
        """
        with self._lock:
            self._open.add(batch, is_last=is_last)
            self._add_to_window(batch, go_on=True)

    def _count(self) -> None:
        batch = concatenated(self._pending)
        self._pending.clear()
        self._add_to_window(batch, go_on=False)

    def _add_to_window(self, batch: SessionBatch, *, go_on: bool) -> None:
        if len(batch):
            entities = self._window.add(batch, go_on=go_on)
            self._busy.update(dict.fromkeys(entities, time.monotonic()))
            self._changed.update(entities)

    def collect(self) -> MetricsData:
        """All metrics as they stand now, or what was added since the last call where delta is preferred."""
        now = time.time_ns()
        with self._lock:
            self._count()
            self._start_by(now)
            self._forget_idle()
            self._collected = []
            active = self._active()
            own = [*self._of_entity(THE_HOST, active, now), *self._of_tracer(now)]
            resource_metrics = [self._resource_metrics(THE_HOST, own)]
            for entity in dict.fromkeys([*self._window.entities, *active]):
                if entity != THE_HOST:
                    resource_metrics.append(self._resource_metrics(entity, self._of_entity(entity, active, now)))
            self._collected_window = self._window
            if self._preference.delta_histograms:
                self._window = self._new_window(now)
            self._window.collected(now)
            self._last_collected = now
            self._changed.clear()
            self._undelivered = None
        return MetricsData(resource_metrics)

    def _resource_metrics(self, entity: Entity, metrics: Iterable[Metric]) -> ResourceMetrics:
        scope = InstrumentationScope(conventions.SCOPE, __version__, conventions.SCHEMA_URL)
        present = [metric for metric in metrics if metric.data.data_points]
        scope_metrics = ScopeMetrics(scope, present, conventions.SCHEMA_URL)
        resource = self._resources.of(entity)
        return ResourceMetrics(resource, [scope_metrics], resource.schema_url)

    def _forget_idle(self) -> None:
        """Forget what has had no sessions for long, when all of it was exported."""
        if self._undelivered is None:
            return
        kept = {THE_HOST, *self._undelivered, *self._changed}
        long_ago = time.monotonic() - FORGET_AFTER
        idle = [entity for entity, at in self._busy.items() if at <= long_ago and entity not in kept]
        for entity in idle:
            del self._busy[entity]
        self._window.forget(idle)

    def _start_by(self, now: int) -> None:
        """Have nothing begin later than now, as it would where the clock was set back."""
        self._started, self._last_collected = min(self._started, now), min(self._last_collected, now)
        self._window.start_by(now)
        self._begun = {key: min(start, now) for key, start in self._begun.items()}
        self._counted = {key: counted._replace(at=min(counted.at, now)) for key, counted in self._counted.items()}

    def put_back(self, undelivered: Iterable[int]) -> None:
        """Have these data points of the last collecting, by their position in it, come again with the next one.

        All others were delivered.
        """
        with self._lock:
            sources = [self._collected[position] for position in undelivered]
            collected = self._collected_window
            self._undelivered = {collected.entity_of(source) for source in sources if isinstance(source, Point)}
            if self._preference.delta_histograms:
                points = [source for source in sources if isinstance(source, Point)]
                self._window.take_over(self._collected_window, points)
            for source in sources:
                if source and not isinstance(source, Point):
                    self._put_counter_back(*source)

    def _put_counter_back(self, key: _Key, before: _Counted | None) -> None:
        if before is None:
            self._counted.pop(key, None)
        else:
            self._counted[key] = before

    def _of_entity(self, entity: Entity, active: _Active, now: int) -> Iterator[Metric]:
        """All metrics of an entity."""
        self._collected += self._window.points(entity)
        yield from self._window.metrics(entity, now, _temporality(self._preference.delta_histograms))
        values = active.get(entity, ())
        self._collected += [None] * len(values)
        points = [NumberDataPoint(attributes, self._started, now, count) for attributes, count in values]
        data = Sum(points, _temporality(False), is_monotonic=False)
        yield Metric(ACTIVE.name, ACTIVE.brief, ACTIVE.unit, data)

    def _active(self) -> _Active:
        """How many sessions are open, by entity and attributes."""
        if ACTIVE not in self._counters:
            return {}
        total = sum(int(count) for _, count in self._counters[ACTIVE]())
        values: dict[Entity, list[tuple[Attributes, int]]] = {}
        for (entity, attributes), count in self._open.found(total).items():
            values.setdefault(entity, []).append((dict(attributes), count))
        return values

    def _of_tracer(self, now: int) -> Iterator[Metric]:
        """What there is to say of the tracer itself."""
        yield from (self._counter(counter, now) for counter in self._counters if counter is not ACTIVE)
        yield from self._durations(now)

    def _counter(self, counter: CounterMetric, now: int) -> Metric:
        delta = self._preference.delta_counters and counter.monotonic
        points: list[NumberDataPoint] = []
        for attributes, total in self._counters[counter]():
            before = self._exported_before(counter.name, attributes, total, now)
            since = before if delta and before else _Counted(0, self._begin(counter.name, attributes))
            assert not isinstance(since.total, Durations)
            points.append(NumberDataPoint(attributes, since.at, now, total - since.total))
        data = Sum(points, _temporality(delta), is_monotonic=counter.monotonic)
        return Metric(counter.name, counter.brief, counter.unit, data)

    def _durations(self, now: int) -> Iterable[Metric]:
        """Those of exports, without their least and greatest: what is a difference has none."""
        delta = self._preference.delta_histograms
        metric = OPERATION_DURATION
        points: list[HistogramDataPoint] = []
        for attributes, total in self._itself.durations() if self._itself else ():
            before = self._exported_before(metric.name, attributes, total, now)
            since = before if delta and before else _Counted(Durations(), self._begin(metric.name, attributes))
            assert isinstance(since.total, Durations)
            values = total - since.total
            points.append(_histogram_point(attributes, since.at, now, values, metric.bounds))
        yield Metric(metric.name, metric.brief, metric.unit, Histogram(points, _temporality(delta)))

    def _begin(self, metric: str, attributes: Mapping[str, str]) -> int:
        return self._begun.setdefault(_Key(metric, frozenset(attributes.items())), self._last_collected)

    def _exported_before(
        self, metric: str, attributes: Mapping[str, str], total: float | Durations, now: int
    ) -> _Counted | None:
        """What was exported before; this total is from now on."""
        key = _Key(metric, frozenset(attributes.items()))
        before = self._counted.get(key)
        self._collected.append((key, before))
        self._counted[key] = _Counted(total, now)
        return before


def _temporality(delta: bool) -> AggregationTemporality:
    return AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE


def _histogram_point(
    attributes: Mapping[str, str], start: int, now: int, values: Durations, bounds: Sequence[float]
) -> HistogramDataPoint:
    unknown: Any = None  # of OTLP's data points min and max are optional, if not of the SDK's
    return HistogramDataPoint(
        attributes, start, now, sum(values.counts), values.sum, values.counts, bounds, unknown, unknown
    )
