"""Sums of many series at once: a row for each attribute set, filled from whole batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from opentelemetry.sdk.metrics.export import AggregationTemporality, NumberDataPoint, Sum

from otel_tcplife.columns import NumericColumn
from otel_tcplife.export.metrics.distribution import FEWEST_ROWS, AttributesOf, Grouping, Rows, StartOf, grown
from otel_tcplife.session import LARGEST_INTEGER


class Sums:
    """The sum of the values of each row, in Python's numbers, as it may take more than 64 bits."""

    def __init__(self) -> None:
        self._sum = np.zeros(FEWEST_ROWS, np.object_)
        self._has_values = np.zeros(FEWEST_ROWS, np.bool_)

    def grow(self, rows: int) -> None:
        """Have so many rows at least."""
        if rows > len(self._sum):
            rows = max(rows, 2 * len(self._sum))
            self._sum, self._has_values = grown(self._sum, rows), grown(self._has_values, rows)

    def clear(self, rows: Rows) -> None:
        """Have no values in these rows."""
        self._sum[rows] = 0
        self._has_values[rows] = False

    def add(self, grouping: Grouping, column: NumericColumn) -> None:
        """Add the values that are known."""
        totals, have_values = grouping.sums(column)
        self._sum[grouping.rows] += np.array(totals, np.object_)
        self._has_values[grouping.rows] |= have_values

    def merge(self, row: int, other: Sums, its_row: int) -> None:
        """Add the values of a row of another one."""
        self._sum[row] += other._sum[its_row]
        self._has_values[row] |= other._has_values[its_row]

    def used(self, rows: Sequence[int]) -> Sequence[int]:
        """Those of these rows that have values."""
        known = len(self._sum)
        return [row for row in rows if row < known and self._has_values[row]]

    def points(self, rows: Sequence[int], attributes: AttributesOf, start: StartOf, now: int) -> list[NumberDataPoint]:
        """A data point for each of these rows, which have values; times in Unix ns."""
        return [NumberDataPoint(attributes(row), start(row), now, _representable(self._sum[row])) for row in rows]

    @staticmethod
    def data(points: Sequence[Any], temporality: AggregationTemporality) -> Sum:
        """The points as the data of a metric."""
        return Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=True)


def _representable(value: int) -> int | float:
    """A number that OTLP has: what its integers cannot hold as a double."""
    return value if value <= LARGEST_INTEGER else float(value)
