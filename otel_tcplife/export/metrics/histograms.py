"""Histograms of many series at once: a row for each attribute set, filled from whole batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
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
AttributesOf = Callable[[int], Mapping[str, AttributeValue]]
"""The attributes of a row."""
StartOf = Callable[[int], int]
"""When the data of a row begin, in Unix ns."""

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

    def moved(self, rows: Rows) -> Grouping:
        """The same groups at other rows, as many and each once."""
        other = copy(self)
        other.rows = rows
        return other


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
                self._add(row, count, total, low, high)

    def merge(self, row: int, other: Distribution, its_row: int) -> None:
        """Add the values of a row of another one, which has some."""
        self._add(row, other.count[its_row], other.sum[its_row], other.min[its_row], other.max[its_row])

    def _add(self, row: int, count: int, total: float, low: float, high: float) -> None:
        known = self.count[row] > 0
        self.count[row] += count
        self.sum[row] += total
        self.min[row] = min(self.min[row], low) if known else low
        self.max[row] = max(self.max[row], high) if known else high

    def rows(self) -> Sequence[int]:
        """Those that have values."""
        return np.flatnonzero(self.count).tolist()


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

    def merge(self, row: int, other: ExplicitBuckets, its_row: int) -> None:
        """Add the values of a row of another one with the same bounds."""
        self._buckets[row] += other._buckets[its_row]
        self._distribution.merge(row, other._distribution, its_row)

    def rows(self) -> Sequence[int]:
        """Those that have values, in the order of points()."""
        return self._distribution.rows()

    def points(self, attributes: AttributesOf, start: StartOf, now: int) -> list[HistogramDataPoint]:
        """A data point for each row that has values; times in Unix ns."""
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
            for row in self.rows()
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
                self._add(row, _FINEST_SCALE, mine)

    def merge(self, row: int, other: ExponentialBuckets, its_row: int) -> None:
        """Add the values of a row of another one."""
        self._distribution.merge(row, other._distribution, its_row)
        self._zeros[row] += other._zeros[its_row]
        used = np.flatnonzero(other._buckets[its_row])
        if len(used):
            counts = other._buckets[its_row, used]
            self._add(row, int(other._scale[its_row]), used + other._first[its_row], counts)

    def rows(self) -> Sequence[int]:
        """Those that have values, in the order of points()."""
        return self._distribution.rows()

    def _add(
        self, row: int, scale: int, indices: npt.NDArray[np.int64], counts: npt.NDArray[np.int64] | None = None
    ) -> None:
        """Count once in each of these buckets of a scale, or as often as the counts say."""
        common = min(scale, int(self._scale[row]))
        used = np.flatnonzero(self._buckets[row])
        indices = indices >> (scale - common)
        own = (used + self._first[row]) >> (int(self._scale[row]) - common)
        first = int(min(indices.min(), own.min(initial=indices[0])))
        last = int(max(indices.max(), own.max(initial=indices[0])))
        coarser = 0
        while (last >> coarser) - (first >> coarser) >= _MOST_BUCKETS:
            coarser += 1
        first, last = first >> coarser, last >> coarser
        buckets = np.bincount((indices >> coarser) - first, counts, _MOST_BUCKETS).astype(np.int64)
        np.add.at(buckets, (own >> coarser) - first, self._buckets[row, used])
        self._buckets[row], self._first[row], self._last[row] = buckets, first, last
        self._scale[row] = common - coarser

    def points(self, attributes: AttributesOf, start: StartOf, now: int) -> list[ExponentialHistogramDataPoint]:
        """A data point for each row that has values; times in Unix ns."""
        distribution = self._distribution
        return [
            ExponentialHistogramDataPoint(
                attributes=attributes(row),
                start_time_unix_nano=start(row),
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
            for row in self.rows()
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
