"""Histograms of many series at once, a row for each, with fixed bounds or exponential ones."""

from __future__ import annotations

from collections.abc import Sequence
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

from otel_tcplife.columns import NumericColumn
from otel_tcplife.export.metrics.bucket_index import BucketIndex
from otel_tcplife.export.metrics.distribution import (
    FEWEST_ROWS,
    AttributesOf,
    Distribution,
    Grouping,
    Rows,
    StartOf,
    grown,
)

_MOST_BUCKETS = 160
_FINEST_SCALE = 20
"""Defaults of the base-2 exponential aggregation (metrics SDK specification)."""


class ExplicitBuckets:
    """Histograms with fixed bounds: bucket i counts the values in (bounds[i - 1], bounds[i]]."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = np.array(bounds)
        self._index = BucketIndex(bounds)
        self._buckets = np.zeros((FEWEST_ROWS, len(bounds) + 1), np.int64)
        self._distribution = Distribution()

    def grow(self, rows: int) -> None:
        """Have so many rows at least."""
        if self._distribution.grow(rows):
            self._buckets = grown(self._buckets, len(self._distribution.count))

    def clear(self, rows: Rows) -> None:
        """Have no values in these rows."""
        self._distribution.clear(rows)
        self._buckets[rows] = 0

    def add(self, grouping: Grouping, column: NumericColumn) -> None:
        """Add the values that are known."""
        values, present = grouping.known(column)
        width = self._buckets.shape[1]
        cells = grouping.group * width + self._index(values)
        cells = cells if present is None else cells[present]
        counts = np.bincount(cells, minlength=len(grouping.rows) * width)
        self._buckets[grouping.rows] += counts.reshape(-1, width)
        self._distribution.add(grouping, values, present)

    def merge(self, row: int, other: ExplicitBuckets, its_row: int) -> None:
        """Add the values of a row of another one with the same bounds."""
        self._buckets[row] += other._buckets[its_row]
        self._distribution.merge(row, other._distribution, its_row)

    def used(self, rows: Sequence[int]) -> Sequence[int]:
        """Those of these rows that have values."""
        return self._distribution.used(rows)

    def points(
        self, rows: Sequence[int], attributes: AttributesOf, start: StartOf, now: int
    ) -> list[HistogramDataPoint]:
        """A data point for each of these rows, which have values; times in Unix ns."""
        distribution = self._distribution
        return [
            HistogramDataPoint(
                attributes=attributes(row),
                start_time_unix_nano=start(row),
                time_unix_nano=now,
                count=int(distribution.count[row]),
                sum=distribution.sum[row],
                bucket_counts=self._buckets[row].tolist(),
                explicit_bounds=self._bounds.tolist(),
                min=distribution.min[row],
                max=distribution.max[row],
            )
            for row in rows
        ]

    @staticmethod
    def data(points: Sequence[Any], temporality: AggregationTemporality) -> Histogram:
        """The points as the data of a metric."""
        return Histogram(data_points=points, aggregation_temporality=temporality)


class ExponentialBuckets:
    """Histograms with base-2 exponential buckets: bucket i of a scale counts the values in (base^i, base^(i + 1)],
    base = 2^(2^-scale); each row has the finest scale at which its values fit (metrics data model).
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        del bounds
        self._buckets = np.zeros((FEWEST_ROWS, _MOST_BUCKETS), np.int64)
        self._coarser = np.zeros(FEWEST_ROWS, np.int64)
        """How much smaller the scale of each row is than _FINEST_SCALE."""
        self._first = np.zeros(FEWEST_ROWS, np.int64)
        self._length = np.zeros(FEWEST_ROWS, np.int64)
        self._zeros = np.zeros(FEWEST_ROWS, np.int64)
        self._distribution = Distribution()

    def grow(self, rows: int) -> None:
        """Have so many rows at least."""
        if self._distribution.grow(rows):
            rows = len(self._distribution.count)
            self._buckets, self._coarser = grown(self._buckets, rows), grown(self._coarser, rows)
            self._first, self._length = grown(self._first, rows), grown(self._length, rows)
            self._zeros = grown(self._zeros, rows)

    def clear(self, rows: Rows) -> None:
        """Have no values in these rows."""
        self._distribution.clear(rows)
        for array in (self._buckets, self._coarser, self._first, self._length, self._zeros):
            array[rows] = 0

    def add(self, grouping: Grouping, column: NumericColumn) -> None:
        """Add the values that are known; none is negative."""
        values, present = grouping.known(column)
        self._distribution.add(grouping, values, present)
        zero = (values == 0) if present is None else present & (values == 0)
        self._zeros[grouping.rows] += np.add.reduceat(zero, grouping.starts, dtype=np.int64)
        positive = ~zero if present is None else present & ~zero
        indices = _finest_index(np.where(positive, values, 1))
        for group, row in enumerate(grouping.rows.tolist()):
            mine = indices[(grouping.group == group) & positive]
            if len(mine):
                self._add(row, _FINEST_SCALE, mine)

    def merge(self, row: int, other: ExponentialBuckets, its_row: int) -> None:
        """Add the values of a row of another one."""
        self._distribution.merge(row, other._distribution, its_row)
        self._zeros[row] += other._zeros[its_row]
        used = np.flatnonzero(other._buckets[its_row])
        if len(used):
            counts = other._buckets[its_row, used]
            self._add(row, other._scale(its_row), used + other._first[its_row], counts)

    def used(self, rows: Sequence[int]) -> Sequence[int]:
        """Those of these rows that have values."""
        return self._distribution.used(rows)

    def _scale(self, row: int) -> int:
        return _FINEST_SCALE - int(self._coarser[row])

    def _add(
        self, row: int, scale: int, indices: npt.NDArray[np.int64], counts: npt.NDArray[np.int64] | None = None
    ) -> None:
        """Count once in each of these buckets of a scale, or as often as the counts say."""
        common = min(scale, self._scale(row))
        used = np.flatnonzero(self._buckets[row])
        indices = indices >> (scale - common)
        own = (used + self._first[row]) >> (self._scale(row) - common)
        first = int(min(indices.min(), own.min(initial=indices[0])))
        last = int(max(indices.max(), own.max(initial=indices[0])))
        coarser = 0
        while (last >> coarser) - (first >> coarser) >= _MOST_BUCKETS:
            coarser += 1
        first, last = first >> coarser, last >> coarser
        buckets = np.bincount((indices >> coarser) - first, counts, _MOST_BUCKETS).astype(np.int64)
        np.add.at(buckets, (own >> coarser) - first, self._buckets[row, used])
        self._buckets[row], self._first[row], self._length[row] = buckets, first, last - first + 1
        self._coarser[row] = _FINEST_SCALE - common + coarser

    def points(
        self, rows: Sequence[int], attributes: AttributesOf, start: StartOf, now: int
    ) -> list[ExponentialHistogramDataPoint]:
        """A data point for each of these rows, which have values; times in Unix ns."""
        distribution = self._distribution
        return [
            ExponentialHistogramDataPoint(
                attributes=attributes(row),
                start_time_unix_nano=start(row),
                time_unix_nano=now,
                count=int(distribution.count[row]),
                sum=distribution.sum[row],
                scale=self._scale(row) if self._length[row] else 0,  # as the SDK has it
                zero_count=int(self._zeros[row]),
                positive=Buckets(
                    offset=int(self._first[row]),
                    bucket_counts=self._buckets[row, : self._length[row]].tolist(),
                ),
                negative=Buckets(offset=0, bucket_counts=[]),
                flags=0,
                min=distribution.min[row],
                max=distribution.max[row],
            )
            for row in rows
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
