"""Values that are found to be the same: exactly those that are, also where their hashes meet in the table of slots."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife import factorize as module
from otel_tcplife.factorize import factorize

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
    monkeypatch.setattr(module, "_SLOTS_FOR_EACH", 1)
    _is_right(_values(np.random.default_rng(1).integers(0, different, 5000), dtype))


@given(names=st.lists(st.binary(max_size=24), min_size=1, max_size=40), numbers=st.lists(st.integers(-3, 3)))
def test_columns_of_rows_are_compared_together(names: list[bytes], numbers: list[int]) -> None:
    rows = np.zeros(len(names), [("before", "u1"), ("name", "S64"), ("number", "i2"), ("large", "u8")])
    rows["name"], rows["number"] = names, [*numbers, *[0] * len(names)][: len(names)]
    rows["large"] = np.where(rows["number"] < 0, 1 << 63, 0)
    first, codes = factorize(rows["name"], rows["number"], rows["large"])
    content: list[object] = rows[["name", "number", "large"]].tolist()
    assert len(first) == len({*content})
    assert [content[at] for at in first[codes].tolist()] == content
    assert [content.index(content[at]) for at in first.tolist()] == first.tolist()


def test_hashes_that_collide_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MULTIPLIERS", np.zeros(64, np.uint64))
    for dtype in _DTYPES:
        _is_right(_values(np.arange(300) % 7, dtype))


def _values(numbers: npt.NDArray[np.int64], dtype: str) -> npt.NDArray[Any]:
    if dtype[0] in "ui":
        return numbers.astype(dtype)
    size = np.dtype(dtype).itemsize
    packed = [int(number).to_bytes(3, "big").rjust(size, b"x") for number in numbers]
    return np.frombuffer(b"".join(packed), dtype)
