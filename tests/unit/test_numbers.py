"""Columns of numbers as bytes: each as protocol buffers or Python write it, whatever the others of the column are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.export.otlp.joined import Joined
from otel_tcplife.export.otlp.numbers import decimals, varints
from otel_tcplife.export.otlp.pieces import Piece
from otel_tcplife.export.otlp.protobuf import varint

_AROUND = [base**power + more for base in (2, 10) for power in range(64) for more in (-1, 0, 1)]
_NUMBERS = st.integers(0, 2**64 - 1) | st.sampled_from([number for number in _AROUND if 0 <= number < 2**64])


@st.composite
def _columns(draw: st.DrawFn, numbers: st.SearchStrategy[int]) -> list[int]:
    """Also of one number alone, which is not written for each record."""
    values = draw(st.lists(numbers, min_size=1, max_size=20))
    return values[:1] * len(values) if draw(st.booleans()) else values


def _each(piece: Piece, count: int) -> list[bytes]:
    joined = Joined([piece], count)
    ends = np.cumsum(joined.lengths)
    out = np.empty(int(ends[-1]), np.uint8)
    joined.write(out, ends - joined.lengths, 0)
    return [out[start:end].tobytes() for start, end in zip([0, *ends.tolist()], ends.tolist())]


@given(values=_columns(_NUMBERS), prefix=st.binary(max_size=3))
def test_variable_length_integers(values: list[int], prefix: bytes) -> None:
    piece = varints(np.array(values, np.uint64), prefix)
    assert _each(piece, len(values)) == [prefix + varint(value) for value in values]


_INTEGERS = _columns(_NUMBERS.filter(lambda number: number < 10**19))


@given(values=_INTEGERS, digits=st.integers(1, 9))
def test_decimals(values: list[int], digits: int) -> None:
    piece = decimals(np.array(values, np.uint64), digits)
    assert _each(piece, len(values)) == [b"%0*d" % (digits, value) for value in values]


@given(values=_INTEGERS, data=st.data())
def test_what_is_absent_is_empty(values: list[int], data: st.DataObject) -> None:
    present = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    piece = decimals(np.array(values, np.uint64)).where(np.array(present))
    assert _each(piece, len(values)) == [b"%d" % value if known else b"" for value, known in zip(values, present)]
