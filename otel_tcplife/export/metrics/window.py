"""The histograms of all sessions of one time, a row for each attribute set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric
from opentelemetry.util.types import AttributeValue

from otel_tcplife.columns import factorize
from otel_tcplife.conventions import CARDINALITY_LIMIT, HISTOGRAMS, METRIC_ATTRIBUTES, OVERFLOW, HistogramMetric
from otel_tcplife.export.metrics.histograms import ExplicitBuckets, ExponentialBuckets, Grouping, Rows
from otel_tcplife.host import Host
from otel_tcplife.session import SessionBatch
from otel_tcplife.session_columns import SessionColumns

Attributes = Mapping[str, AttributeValue]

_KEY = np.dtype(
    [
        ("executable", "S64"),
        ("server_port", np.uint16),
        ("error", np.int16),
        ("ip_version", np.uint8),
        ("role", np.uint8),
        ("reserved", np.uint16),
    ]
)
"""What METRIC_ATTRIBUTES are made of: records with the same key belong to the same series."""

_KNOWN_KEYS = 4 * CARDINALITY_LIMIT
"""How many keys are remembered: several can have the same attributes, such as names of bytes that are no text."""

_OVERFLOW_ROW = CARDINALITY_LIMIT - 1


class Point(NamedTuple):
    """Where a data point comes from."""

    metric: int
    """Index in HISTOGRAMS."""
    row: int


class Window:
    """The histograms of sessions from one time on. A series is what METRIC_ATTRIBUTES tell apart.

    A metric has a row for each series and measurement, and one for all that are over CARDINALITY_LIMIT.
    """

    def __init__(self, host: Host, start: int, *, exponential: bool) -> None:
        """`start` is the Unix time in ns from which on sessions are added."""
        self.start = start
        self._host = host
        buckets = ExponentialBuckets if exponential else ExplicitBuckets
        self._buckets = [buckets(CARDINALITY_LIMIT, metric.bounds) for metric in HISTOGRAMS]
        self._series_of_key: dict[bytes, int] = {}
        self._series_of_attributes: dict[frozenset[tuple[str, AttributeValue]], int] = {}
        self._attributes: list[Attributes] = []
        self._earlier_starts: dict[Point, int] = {}
        """Of rows that have values of an earlier window."""

    def add(self, batch: SessionBatch) -> None:
        """Add sessions, of which there are some."""
        columns = SessionColumns(batch, self._host)
        series = self._series(columns)
        groupings: dict[int, Grouping] = {}
        for metric, buckets in zip(HISTOGRAMS, self._buckets):
            count = len(metric.measurements)
            if count not in groupings:
                groupings[count] = Grouping(np.minimum(series, _OVERFLOW_ROW // count))
            grouping = groupings[count]
            for index, measurement in enumerate(metric.measurements):
                rows = np.where(grouping.rows == _OVERFLOW_ROW // count, _OVERFLOW_ROW, grouping.rows * count + index)
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
            count = len(HISTOGRAMS[index].measurements)
            own = row if row == _OVERFLOW_ROW else self._row(earlier._attributes[row // count], row % count, count)
            buckets, theirs = self._buckets[index], earlier._buckets[index]
            buckets.merge(own, theirs, row)  # pyright: ignore[reportArgumentType] both are of the same kind
            start = earlier._earlier_starts.get(Point(index, row), earlier.start)
            known = self._earlier_starts.get(Point(index, own), self.start)
            self._earlier_starts[Point(index, own)] = min(start, known)

    def _row(self, attributes: Attributes, measurement: int, count: int) -> int:
        series = self._series_with(attributes)
        return _OVERFLOW_ROW if series >= _OVERFLOW_ROW // count else series * count + measurement

    def _row_attributes(self, metric: HistogramMetric, row: int) -> Attributes:
        if row == _OVERFLOW_ROW:
            return OVERFLOW
        count = len(metric.measurements)
        return {**self._attributes[row // count], **metric.measurements[row % count].attributes}

    def _series(self, columns: SessionColumns) -> Rows:
        """The series of each record."""
        keys = np.zeros(len(columns), _KEY)
        for column in ("executable", "ip_version", "role"):
            keys[column] = columns.batch[column]
        keys["server_port"] = np.where(columns.server_port.present, columns.server_port.values, 0)
        keys["error"] = columns.error_number
        first, codes = factorize(keys.view(f"V{_KEY.itemsize}"))
        of_keys = [self._series_of(keys[at].tobytes(), columns.batch[at : at + 1]) for at in first]
        return np.array(of_keys, np.intp)[codes]

    def _series_of(self, key: bytes, example: SessionBatch) -> int:
        series = self._series_of_key.get(key)
        if series is None:
            if len(self._attributes) == _OVERFLOW_ROW:
                return _OVERFLOW_ROW
            series = self._series_with(_attributes(example, self._host))
            if len(self._series_of_key) < _KNOWN_KEYS:
                self._series_of_key[key] = series
        return series

    def _series_with(self, attributes: Attributes) -> int:
        """The series of these attributes, a new one if need be; _OVERFLOW_ROW where there are as many as may be."""
        key = frozenset(attributes.items())
        series = self._series_of_attributes.get(key)
        if series is None:
            if len(self._attributes) == _OVERFLOW_ROW:
                return _OVERFLOW_ROW
            series = self._series_of_attributes[key] = len(self._attributes)
            self._attributes.append(attributes)
        return series


def _attributes(example: SessionBatch, host: Host) -> Attributes:
    columns = SessionColumns(example, host)
    values = {attribute.name: attribute.values(columns)[0] for attribute in METRIC_ATTRIBUTES}
    return {name: value for name, value in values.items() if value is not None}
