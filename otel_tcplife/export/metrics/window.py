"""The histograms of all sessions of one time, a row for each attribute set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric

from otel_tcplife.export.metrics.histograms import ExplicitBuckets, ExponentialBuckets, Grouping
from otel_tcplife.export.metrics.series import Attributes, Keys, Series
from otel_tcplife.host import Host
from otel_tcplife.instruments import CARDINALITY_LIMIT, HISTOGRAMS, OVERFLOW, HistogramMetric
from otel_tcplife.session import SessionBatch
from otel_tcplife.session_columns import SessionColumns

_OVERFLOW_ROW = CARDINALITY_LIMIT - 1


class Point(NamedTuple):
    """Where a data point comes from."""

    metric: int
    """Index in HISTOGRAMS."""
    row: int


class Window:
    """The histograms of sessions from one time on. A series is what the attributes of a metric tell apart.

    A metric has a row for each series and measurement, and one for all that are over CARDINALITY_LIMIT.
    """

    def __init__(self, host: Host, start: int, *, exponential: bool) -> None:
        """`start` is the Unix time in ns from which on sessions are added."""
        self.start = start
        self._host = host
        buckets = ExponentialBuckets if exponential else ExplicitBuckets
        self._buckets = [buckets(CARDINALITY_LIMIT, metric.bounds) for metric in HISTOGRAMS]
        self._series = {metric.attributes: Series(metric.attributes, host) for metric in HISTOGRAMS}
        """Of each set of attributes that metrics have."""
        self._earlier_starts: dict[Point, int] = {}
        """Of rows that have values of an earlier window."""

    def add(self, batch: SessionBatch) -> None:
        """Add sessions, of which there are some."""
        columns = SessionColumns(batch, self._host)
        keys = Keys(columns)
        by_key = Grouping(keys.of_records)
        of_keys = {attributes: series.of(keys) for attributes, series in self._series.items()}
        for metric, buckets in zip(HISTOGRAMS, self._buckets):
            count = len(metric.measurements)
            series = np.minimum(of_keys[metric.attributes], _OVERFLOW_ROW // count)
            # Sorting costs as much as all else, and is done again only where keys have the same series
            is_sorted = len(np.unique(series)) == len(series)
            grouping = by_key if is_sorted else Grouping(series[keys.of_records])
            of_groups = series[by_key.rows] if is_sorted else grouping.rows
            for index, measurement in enumerate(metric.measurements):
                rows = np.where(of_groups == _OVERFLOW_ROW // count, _OVERFLOW_ROW, of_groups * count + index)
                buckets.add(grouping.moved(rows), measurement.values(columns))

    def start_by(self, now: int) -> None:
        """Have begun by this Unix time in ns, though the clock was at a later one."""
        self.start = min(self.start, now)
        self._earlier_starts = {point: min(start, now) for point, start in self._earlier_starts.items()}

    def metrics(self, now: int, temporality: AggregationTemporality) -> Iterator[Metric]:
        """A metric for each of HISTOGRAMS, its data points in the order of points()."""
        for index, (metric, buckets) in enumerate(zip(HISTOGRAMS, self._buckets)):
            points = buckets.points(
                lambda row, metric=metric: self._row_attributes(metric, row),
                lambda row, index=index: self._earlier_starts.get(Point(index, row), self.start),
                now,
            )
            yield Metric(metric.name, metric.brief, metric.unit, buckets.data(points, temporality))

    def points(self) -> list[Point]:
        """Where each data point comes from."""
        return [Point(index, row) for index, buckets in enumerate(self._buckets) for row in buckets.rows()]

    def take_over(self, earlier: Window, points: list[Point]) -> None:
        """Add what an earlier window has in the rows of these data points."""
        for index, row in points:
            own = self._row_in(HISTOGRAMS[index], earlier, row)
            buckets, theirs = self._buckets[index], earlier._buckets[index]
            buckets.merge(own, theirs, row)  # pyright: ignore[reportArgumentType] both are of the same kind
            start = earlier._earlier_starts.get(Point(index, row), earlier.start)
            known = self._earlier_starts.get(Point(index, own), self.start)
            self._earlier_starts[Point(index, own)] = min(start, known)

    def _row_in(self, metric: HistogramMetric, earlier: Window, row: int) -> int:
        """Our row of the attributes that this row of an earlier window has."""
        if row == _OVERFLOW_ROW:
            return row
        count = len(metric.measurements)
        series = self._series[metric.attributes].having(earlier._series[metric.attributes].attributes[row // count])
        return _OVERFLOW_ROW if series >= _OVERFLOW_ROW // count else series * count + row % count

    def _row_attributes(self, metric: HistogramMetric, row: int) -> Attributes:
        if row == _OVERFLOW_ROW:
            return OVERFLOW
        count = len(metric.measurements)
        return {
            **self._series[metric.attributes].attributes[row // count],
            **metric.measurements[row % count].attributes,
        }
