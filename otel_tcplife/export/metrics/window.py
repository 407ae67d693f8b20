"""The histograms and sums of all sessions of one time, a row for each attribute set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric

from otel_tcplife.export.metrics.distribution import Grouping, Rows
from otel_tcplife.export.metrics.histograms import ExplicitBuckets, ExponentialBuckets
from otel_tcplife.export.metrics.keys import Keys
from otel_tcplife.export.metrics.known_keys import KnownKeys
from otel_tcplife.export.metrics.series import Series
from otel_tcplife.export.metrics.sums import Sums
from otel_tcplife.host import Entity, Host
from otel_tcplife.instruments import HISTOGRAMS, SUMS, HistogramMetric, SessionMetric
from otel_tcplife.session import SessionBatch
from otel_tcplife.session_columns import SessionColumns

METRICS: Sequence[SessionMetric] = (*HISTOGRAMS, *SUMS)


class Point(NamedTuple):
    """Where a data point comes from."""

    metric: int
    """Index in METRICS."""
    row: int


class Window:
    """The metrics of sessions from one time on.

    Metrics whose series and measurements have the same attributes have the same rows for them.
    """

    def __init__(self, host: Host, start: int, *, exponential: bool) -> None:
        """`start` is the Unix time in ns from which on sessions are added."""
        self._host = host
        self._last_collected = start
        buckets = ExponentialBuckets if exponential else ExplicitBuckets
        self._buckets = [
            buckets(metric.bounds) if isinstance(metric, HistogramMetric) else Sums() for metric in METRICS
        ]
        made: dict[object, Series] = {}
        self._series = [made.setdefault(_likeness(metric), _series(metric)) for metric in METRICS]
        self._known_keys = KnownKeys(made.values())
        self._starts: dict[Point, int] = {}
        """When the data of each data point that was collected begin, in Unix ns."""

    def add(self, batch: SessionBatch, *, go_on: bool = False) -> Sequence[Entity]:
        """Add sessions, of which there are some; return the entities that they are of.

        What goes on is in the sums alone, with what it has more than at the last scan.
        """
        columns = SessionColumns(batch, self._host)
        keys = Keys(columns)
        by_key = Grouping(keys.of_records)
        metrics = [
            each
            for each in zip(METRICS, self._series, self._buckets)
            if not (go_on and isinstance(each[0], HistogramMetric))
        ]
        rows_of_keys = self._known_keys.rows(keys, [*dict.fromkeys(series for _, series, _ in metrics)])
        grouped = {series: _grouped(by_key, keys, rows) for series, rows in rows_of_keys.items()}
        for metric, series, buckets in metrics:
            buckets.grow(len(series.rows))
            for index, measurement in enumerate(metric.measurements):
                values = measurement.values(columns)
                if values.present.any():
                    rows = series.of_measurement(grouped[series].rows, index)
                    buckets.add(grouped[series].moved(rows), values)
        return keys.entities

    @property
    def entities(self) -> list[Entity]:
        """All that sessions were added of."""
        return [*dict.fromkeys(entity for series in self._series for entity in series.entities)]

    def forget(self, entities: Sequence[Entity]) -> None:
        """Have nothing of some entities."""
        self._known_keys.forget(entities)
        forgotten = {
            series: [row for entity in entities for row in series.forget(entity)]
            for series in dict.fromkeys(self._series)
        }
        for metric, (series, buckets) in enumerate(zip(self._series, self._buckets)):
            buckets.clear(np.array(forgotten[series], np.intp))
            for row in forgotten[series]:
                self._starts.pop(Point(metric, row), None)

    def start_by(self, now: int) -> None:
        """Have begun by this Unix time in ns, though the clock was at a later one."""
        self._last_collected = min(self._last_collected, now)
        self._starts = {point: min(start, now) for point, start in self._starts.items()}

    def collected(self, now: int) -> None:
        """All data points were collected: what is met anew begins at this Unix time in ns."""
        self._last_collected = now

    def metrics(self, entity: Entity, now: int, temporality: AggregationTemporality) -> Iterator[Metric]:
        """A metric of an entity for each of METRICS, its data points in the order of points()."""
        for index, (metric, series, buckets) in enumerate(zip(METRICS, self._series, self._buckets)):
            points = buckets.points(
                buckets.used(series.rows_of(entity)),
                series.attributes_of,
                lambda row, index=index: self._started(Point(index, row)),
                now,
            )
            yield Metric(metric.name, metric.brief, metric.unit, buckets.data(points, temporality))

    def points(self, entity: Entity) -> list[Point]:
        """Where each data point of an entity comes from."""
        return [
            Point(index, row)
            for index, (series, buckets) in enumerate(zip(self._series, self._buckets))
            for row in buckets.used(series.rows_of(entity))
        ]

    def entity_of(self, point: Point) -> Entity:
        """What a data point is of."""
        return self._series[point.metric].rows[point.row].entity

    def take_over(self, earlier: Window, points: list[Point]) -> None:
        """Add what an earlier window has in the rows of these data points."""
        for point in points:
            index, row = point
            series, buckets = self._series[index], self._buckets[index]
            own = series.row_like(earlier._series[index].rows[row])
            buckets.grow(len(series.rows))
            buckets.merge(own, earlier._buckets[index], row)  # pyright: ignore[reportArgumentType] both are of the same kind
            merged = Point(index, own)
            self._starts[merged] = min(earlier._started(point), self._started(merged))

    def _started(self, point: Point) -> int:
        """When the data of a data point begin, in Unix ns: a new one was not there at the last collecting.

        A start in the far past would hide the growth from 0: no store looks so far back.
        """
        return self._starts.setdefault(point, self._last_collected)


def _likeness(metric: SessionMetric) -> object:
    """What is the same of metrics that have the same rows."""
    return metric.attributes, tuple(frozenset(each.attributes.items()) for each in metric.measurements)


def _series(metric: SessionMetric) -> Series:
    return Series(metric.attributes, [measurement.attributes for measurement in metric.measurements])


def _grouped(by_key: Grouping, keys: Keys, rows: Rows) -> Grouping:
    """The records by their rows, of which there is one for each key."""
    # Sorting costs as much as all else, and is done again only where keys have the same row
    in_order = np.sort(rows)
    if (in_order[1:] != in_order[:-1]).all():
        return by_key.moved(rows[by_key.rows])
    return Grouping(rows[keys.of_records])
