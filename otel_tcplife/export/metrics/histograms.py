"""Histograms of many series at once: a row for each attribute set, filled from whole batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Histogram,
    HistogramDataPoint,
)
from opentelemetry.util.types import AttributeValue

from otel_tcplife.columns import NumericColumn

Rows = npt.NDArray[np.intp]
SeriesAttributes = Sequence[Mapping[str, AttributeValue]]

_MOST_BUCKETS = 160
_FINEST_SCALE = 20
"""Defaults of the base-2 exponential aggregation (metrics SDK specification)."""


class Grouping:
    """The records of a batch in the order of the rows that they belong to."""

    def __init__(self, rows: Rows) -> None:
        self.order = np.argsort(rows, kind="stable")
        in_order = rows[self.order]
        self.starts = np.flatnonzero(np.diff(in_order, prepend=-1))
        self.rows = in_order[self.starts]
        """The rows that occur, each once."""
        self.group = np.repeat(np.arange(len(self.rows)), np.diff(self.starts, append=len(rows)))
        """For each record in order, the index of its row in `rows`."""


class Distribution:
    """Count, sum, minimum and maximum of the values of each row."""

    def __init__(self, rows: int) -> None:
        self.count = np.zeros(rows, np.int64)
        self.sum = np.zeros(rows, np.object_)
        self.min = np.zeros(rows, np.object_)
        self.max = np.zeros(rows, np.object_)

    def add(self, grouping: Grouping, values: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> None:
        """Add values, in the order of the grouping, where they are present."""
        counts = np.add.reduceat(present, grouping.starts, dtype=np.int64)
        sums = _sums(np.where(present, values, 0), grouping.starts)
        least = np.minimum.reduceat(np.where(present, values, values.max()), grouping.starts)
        most = np.maximum.reduceat(np.where(present, values, values.min()), grouping.starts)
        for row, count, total, low, high in zip(
            grouping.rows.tolist(), counts.tolist(), sums, least.tolist(), most.tolist()
        ):
            if count:
                known = self.count[row] > 0
                self.count[row] += count
                self.sum[row] += total
                self.min[row] = min(self.min[row], low) if known else low
                self.max[row] = max(self.max[row], high) if known else high

    def seen(self, rows: int) -> Sequence[int]:
        """Which of the first rows have values."""
        return np.flatnonzero(self.count[:rows]).tolist()


def _sums(values: npt.NDArray[Any], starts: npt.NDArray[np.intp]) -> list[int] | list[float]:
    """The sum of the values from each start to the next: of integers exact, also where it takes more than 64 bits."""
    if values.dtype.kind == "f":
        return np.add.reduceat(values, starts).tolist()
    low = np.add.reduceat(values & np.uint64(0xFFFF_FFFF), starts).tolist()
    high = np.add.reduceat(values >> np.uint64(32), starts).tolist()
    return [(upper << 32) + lower for upper, lower in zip(high, low)]


class ExplicitBuckets:
    """Histograms with fixed bounds: bucket i counts the values in (bounds[i - 1], bounds[i]]."""

    def __init__(self, rows: int, bounds: Sequence[float]) -> None:
        self._bounds = np.array(bounds)
        self._buckets = np.zeros((rows, len(bounds) + 1), np.int64)
        self._distribution = Distribution(rows)

    def add(self, grouping: Grouping, column: NumericColumn) -> None:
        """Add the values that are known."""
        values, present = column.values[grouping.order], column.present[grouping.order]
        width = self._buckets.shape[1]
        cells = grouping.group * width + np.searchsorted(self._bounds, values)
        cells = cells if present.all() else cells[present]
        counts = np.bincount(cells, minlength=len(grouping.rows) * width)
        self._buckets[grouping.rows] += counts.reshape(-1, width)
        self._distribution.add(grouping, values, present)

    def points(self, attributes: SeriesAttributes, start: int, now: int) -> list[HistogramDataPoint]:
        """A data point for each row that has values; times in Unix ns."""
        distribution = self._distribution
        return [
            HistogramDataPoint(
                attributes=attributes[row],
                start_time_unix_nano=start,
                time_unix_nano=now,
                count=int(distribution.count[row]),
                sum=distribution.sum[row],
                bucket_counts=self._buckets[row].tolist(),
                explicit_bounds=self._bounds.tolist(),
                min=distribution.min[row],
                max=distribution.max[row],
            )
            for row in distribution.seen(len(attributes))
        ]

    @staticmethod
    def data(points: Sequence[Any], temporality: AggregationTemporality) -> Histogram:
        """The points as the data of a metric."""
        return Histogram(data_points=points, aggregation_temporality=temporality)


class ExponentialBuckets:
    """Histograms with base-2 exponential buckets: bucket i of a scale counts the values in (base^i, base^(i + 1)],
    base = 2^(2^-scale); each row has the finest scale at which its values fit (metrics data model).
    """

    def __init__(self, rows: int, bounds: Sequence[float]) -> None:
        del bounds
        self._buckets = np.zeros((rows, _MOST_BUCKETS), np.int64)
        self._scale = np.full(rows, _FINEST_SCALE)
        self._first = np.zeros(rows, np.int64)
        self._last = np.full(rows, -1, np.int64)
        self._zeros = np.zeros(rows, np.int64)
        self._distribution = Distribution(rows)

    def add(self, grouping: Grouping, column: NumericColumn) -> None:
        """Add the values that are known; none is negative."""
        values, present = column.values[grouping.order], column.present[grouping.order]
        self._distribution.add(grouping, values, present)
        zero = present & (values == 0)
        self._zeros[grouping.rows] += np.add.reduceat(zero, grouping.starts, dtype=np.int64)
        positive = present & ~zero
        indices = _finest_index(np.where(positive, values, 1))
        for group, row in enumerate(grouping.rows.tolist()):
            mine = indices[(grouping.group == group) & positive]
            if len(mine):
                self._add(row, mine)

    def _add(self, row: int, finest: npt.NDArray[np.int64]) -> None:
        shift = _FINEST_SCALE - int(self._scale[row])
        first, last = int(finest.min()) >> shift, int(finest.max()) >> shift
        if self._last[row] >= self._first[row]:
            first, last = min(first, int(self._first[row])), max(last, int(self._last[row]))
        coarser = 0
        while (last >> coarser) - (first >> coarser) >= _MOST_BUCKETS:
            coarser += 1
        first, last = first >> coarser, last >> coarser
        old = np.flatnonzero(self._buckets[row])
        moved = ((old + self._first[row]) >> coarser) - first
        buckets = np.bincount((finest >> (shift + coarser)) - first, minlength=_MOST_BUCKETS)
        np.add.at(buckets, moved, self._buckets[row, old])
        self._buckets[row], self._first[row], self._last[row] = buckets, first, last
        self._scale[row] -= coarser

    def points(self, attributes: SeriesAttributes, start: int, now: int) -> list[ExponentialHistogramDataPoint]:
        """A data point for each row that has values; times in Unix ns."""
        distribution = self._distribution
        return [
            ExponentialHistogramDataPoint(
                attributes=attributes[row],
                start_time_unix_nano=start,
                time_unix_nano=now,
                count=int(distribution.count[row]),
                sum=distribution.sum[row],
                scale=int(self._scale[row]) if self._last[row] >= self._first[row] else 0,  # as the SDK has it
                zero_count=int(self._zeros[row]),
                positive=Buckets(
                    offset=int(self._first[row]),
                    bucket_counts=self._buckets[row, : self._last[row] - self._first[row] + 1].tolist(),
                ),
                negative=Buckets(offset=0, bucket_counts=[]),
                flags=0,
                min=distribution.min[row],
                max=distribution.max[row],
            )
            for row in distribution.seen(len(attributes))
        ]

    @staticmethod
    def data(points: Sequence[Any], temporality: AggregationTemporality) -> ExponentialHistogram:
        """The points as the data of a metric."""
        return ExponentialHistogram(data_points=points, aggregation_temporality=temporality)


def _finest_index(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Bucket of each positive value at the finest scale; exact for powers of two, which are upper bounds."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    fraction = np.ceil(np.log2(mantissa) * (1 << _FINEST_SCALE)).astype(np.int64)
    return (exponent.astype(np.int64) << _FINEST_SCALE) + fraction - 1
