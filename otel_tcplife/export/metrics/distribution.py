"""What all histograms have of their values, a row for each attribute set, filled from whole batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from opentelemetry.util.types import AttributeValue

from otel_tcplife.columns import Flags, NumericColumn

Rows = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]
"""Python's numbers, of which integers may take more than 64 bits."""
AttributesOf = Callable[[int], Mapping[str, AttributeValue]]
"""The attributes of a row."""
StartOf = Callable[[int], int]
"""When the data of a row begin, in Unix ns."""

FEWEST_ROWS = 16


class Grouping:
    """The records of a batch in the order of the rows that they belong to."""

    def __init__(self, rows: Rows) -> None:
        self.order = np.argsort(_small(rows), kind="stable")
        in_order = rows[self.order]
        begins = np.ones(len(rows), np.bool_)
        np.not_equal(in_order[1:], in_order[:-1], out=begins[1:])
        self.starts = np.flatnonzero(begins)
        self.rows = in_order[self.starts]
        """The rows that occur, each once."""
        self.group = np.repeat(np.arange(len(self.rows)), np.diff(self.starts, append=len(rows)))
        """For each record in order, the index of its row in `rows`."""

    def known(self, column: NumericColumn) -> tuple[npt.NDArray[Any], Flags | None]:
        """The values of a column in order, and which of them are known; None where all are."""
        values = column.values[self.order]
        return values, None if column.present.all() else column.present[self.order]

    def counts(self, present: Flags | None) -> Counts:
        """How many records of each row there are, or are present."""
        if present is None:
            return np.diff(self.starts, append=len(self.order))
        return np.add.reduceat(present, self.starts, dtype=np.int64)

    def sums(self, column: NumericColumn) -> tuple[Sequence[int] | Sequence[float], Flags]:
        """The sum of the known values of each row, and whether there are any."""
        values, present = self.known(column)
        known = values if present is None else np.where(present, values, 0)
        return sums(known, self.starts), self.counts(present) > 0

    def moved(self, rows: Rows) -> Grouping:
        """The same groups at other rows, as many and each once."""
        other = copy(self)
        other.rows = rows
        return other


def _small(rows: Rows) -> npt.NDArray[Any]:
    """The same in 16 bits where they suffice: NumPy sorts these without comparing, in a fraction of the time."""
    return rows.astype(np.uint16) if int(rows.max(initial=0)) < 1 << 16 else rows


def grown(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """The array with zeros in further rows."""
    larger = np.zeros((rows, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


class Distribution:
    """Count, sum, minimum and maximum of the values of each row."""

    def __init__(self) -> None:
        self.count = np.zeros(FEWEST_ROWS, np.int64)
        self.sum = np.zeros(FEWEST_ROWS, np.object_)
        self.min = np.zeros(FEWEST_ROWS, np.object_)
        self.max = np.zeros(FEWEST_ROWS, np.object_)

    def grow(self, rows: int) -> bool:
        """Have so many rows at least; return whether there are more than before."""
        if rows <= len(self.count):
            return False
        rows = max(rows, 2 * len(self.count))
        self.count, self.sum = grown(self.count, rows), grown(self.sum, rows)
        self.min, self.max = grown(self.min, rows), grown(self.max, rows)
        return True

    def clear(self, rows: Rows) -> None:
        """Have no values in these rows."""
        for array in (self.count, self.sum, self.min, self.max):
            array[rows] = 0

    def add(self, grouping: Grouping, values: npt.NDArray[Any], present: Flags | None) -> None:
        """Add values, in the order of the grouping, where they are present; None where all are."""
        counts = grouping.counts(present)
        totals = sums(values if present is None else np.where(present, values, 0), grouping.starts)
        not_less = values if present is None else np.where(present, values, values.max())
        not_more = values if present is None else np.where(present, values, values.min())
        least = np.minimum.reduceat(not_less, grouping.starts)
        most = np.maximum.reduceat(not_more, grouping.starts)
        some = counts > 0
        self._add(
            grouping.rows[some], counts[some], *(np.array(each, np.object_)[some] for each in (totals, least, most))
        )

    def merge(self, row: int, other: Distribution, its_row: int) -> None:
        """Add the values of a row of another one, which has some."""
        rows, its_rows = np.array([row]), np.array([its_row])
        self._add(rows, other.count[its_rows], other.sum[its_rows], other.min[its_rows], other.max[its_rows])

    def _add(self, rows: Rows, counts: Counts, sums: Objects, least: Objects, most: Objects) -> None:
        """Add values to rows, each of which is there once."""
        known = self.count[rows] > 0
        self.count[rows] += counts
        self.sum[rows] += sums
        self.min[rows] = np.where(known, np.minimum(self.min[rows], least), least)
        self.max[rows] = np.where(known, np.maximum(self.max[rows], most), most)

    def used(self, rows: Sequence[int]) -> Sequence[int]:
        """Those of these rows that have values."""
        known = len(self.count)
        return [row for row in rows if row < known and self.count[row]]


def sums(values: npt.NDArray[Any], starts: npt.NDArray[np.intp]) -> list[int] | list[float]:
    """The sum of the values from each start to the next: of integers exact, also where it takes more than 64 bits."""
    if values.dtype.kind == "f":
        return np.add.reduceat(values, starts).tolist()
    low = np.add.reduceat(values & np.uint64(0xFFFF_FFFF), starts).tolist()
    high = np.add.reduceat(values >> np.uint64(32), starts).tolist()
    return [(upper << 32) + lower for upper, lower in zip(high, low)]
