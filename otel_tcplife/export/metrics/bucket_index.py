"""In which bucket of fixed bounds each value is: as a binary search finds it, in a third of the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_SHIFT = 48
"""Bits of a double that do not count: 4 of its fraction do then, so that each power of two has 16 slots."""


class BucketIndex:
    """Finds the buckets of values that are not negative: bucket i has those in (bounds[i - 1], bounds[i]].

    The first bits of a double, exponent and fraction, are the number of a slot, which has one bound at most: with one
    comparison, it tells the bucket.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascend, by a sixteenth at least, and none is negative. Raise ValueError where they do not."""
        ascending = np.array(bounds)
        slots = _slots(ascending[ascending > 0])
        # The first slot has all that is less than the first positive bound, and the last one all from the last on
        self._first, self._last = int(slots[0]) - 1, int(slots[-1])
        starts = (np.arange(self._first, self._last + 2) << _SHIFT).view(np.float64)
        before = np.searchsorted(ascending, starts)
        before[0] = 0
        if (np.diff(before) > 1).any():
            raise ValueError(f"some of the bounds {bounds} are too close to one another")
        self._buckets = before[:-1]
        self._bounds = np.append(ascending, np.inf)[self._buckets]

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """The index of the bucket of each value."""
        slots = _slots(values.astype(np.float64, copy=False))
        np.maximum(slots, self._first, out=slots)
        np.minimum(slots, self._last, out=slots)
        slots -= self._first
        buckets = self._buckets.take(slots)
        buckets += values > self._bounds.take(slots)
        return buckets


def _slots(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return values.view(np.int64) >> _SHIFT
