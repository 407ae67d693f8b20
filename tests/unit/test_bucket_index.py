"""The bucket of a value is the one that a search among the bounds finds, at and beside each bound, too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.export.metrics.bucket_index import BucketIndex
from otel_tcplife.instruments import DURATION_BOUNDS, ROUND_TRIP_BOUNDS, SIZE_BOUNDS

_BOUNDS = [DURATION_BOUNDS, ROUND_TRIP_BOUNDS, SIZE_BOUNDS, (1.0,), (0.0, 1.0, 1.07, 1.5, 1e300)]


@pytest.mark.parametrize("bounds", _BOUNDS)
def test_at_the_bounds(bounds: tuple[float, ...]) -> None:
    at = np.array([0.0, 5e-324, *bounds, 1.7e308])
    values = np.concatenate([at, np.nextafter(at, 0), np.nextafter(at, np.inf)])
    assert BucketIndex(bounds)(values).tolist() == np.searchsorted(bounds, values).tolist()


@given(values=st.lists(st.floats(0, allow_nan=False), max_size=30), bounds=st.sampled_from(_BOUNDS))
def test_anywhere(values: list[float], bounds: tuple[float, ...]) -> None:
    column = np.array(values, np.float64)
    assert BucketIndex(bounds)(column).tolist() == np.searchsorted(bounds, column).tolist()


@given(values=st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_integers(values: list[int]) -> None:
    column = np.array(values, np.uint64)
    assert BucketIndex(SIZE_BOUNDS)(column).tolist() == np.searchsorted(SIZE_BOUNDS, column).tolist()


def test_bounds_that_are_too_close_are_refused() -> None:
    with pytest.raises(ValueError, match="too close"):
        BucketIndex((1.0, 1.01))
