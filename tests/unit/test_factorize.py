"""Values that are found to be the same: exactly those that are, also where their hashes meet in the table of slots."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife import columns
from otel_tcplife.columns import factorize

_DTYPES = ["u8", "i2", "S8", "S64", "V16"]


def _is_right(values: npt.NDArray[Any]) -> None:
    first, codes = factorize(values)
    content = [value.tobytes() for value in values]
    found = [content[position] for position in first.tolist()]
    assert sorted(found) == sorted(set(content))
    assert [content.index(each) for each in found] == first.tolist()
    assert [found[code] for code in codes.tolist()] == content


@given(numbers=st.lists(st.integers(0, 30), max_size=60), dtype=st.sampled_from(_DTYPES))
def test_each_value_has_one_number(numbers: list[int], dtype: str) -> None:
    _is_right(_values(np.array(numbers, np.int64), dtype))


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("different", [1, 2, 500, 5000])
def test_many_values_in_fewer_slots(different: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_SLOTS_FOR_EACH", 1)
    _is_right(_values(np.random.default_rng(1).integers(0, different, 5000), dtype))


def _values(numbers: npt.NDArray[np.int64], dtype: str) -> npt.NDArray[Any]:
    if dtype[0] in "ui":
        return numbers.astype(dtype)
    size = np.dtype(dtype).itemsize
    packed = [int(number).to_bytes(3, "big").rjust(size, b"x") for number in numbers]
    return np.frombuffer(b"".join(packed), dtype)
