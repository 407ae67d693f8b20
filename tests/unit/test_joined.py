"""Records that are put together of pieces: each has its bytes where it belongs, and no others are written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.export.otlp import joined
from otel_tcplife.export.otlp.joined import Joined
from otel_tcplife.export.otlp.pieces import Choice, Piece, pieces_of

_GUARD = 0xAA
"""What stands between the records, and must not be written over."""


@st.composite
def _columns(draw: st.DrawFn) -> list[list[bytes]]:
    """A byte string of each column for each record: of any lengths, or all of the same one."""
    rows = draw(st.integers(1, 12))
    lengths = st.integers(0, 3) | st.sampled_from([40, 200])
    columns: list[list[bytes]] = []
    for number in range(draw(st.integers(1, 6))):
        same = draw(st.none() | lengths)
        sizes = [draw(lengths) if same is None else same for _ in range(rows)]
        columns.append([bytes([number + 1]) * size for size in sizes])
    return columns


@given(columns=_columns(), matrix=st.sampled_from([1, 300, 1 << 20]), first=st.integers(0, 11), gap=st.integers(0, 3))
def test_each_record_is_written_and_nothing_else(columns: list[list[bytes]], matrix: int, first: int, gap: int) -> None:
    expected = [b"".join(parts) for parts in zip(*columns)]
    pieces = [piece for contents in columns for piece in _piece(contents)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joined, "_MOST_BYTES", matrix)
        records = Joined(pieces, len(expected))
    assert records.lengths.tolist() == list(map(len, expected))
    first = min(first, len(expected) - 1)
    sizes = np.array([gap + len(record) for record in expected[first:]])
    out = np.full(int(sizes.sum()), _GUARD, np.uint8)
    records.write(out, np.cumsum(sizes) - sizes + gap, first)
    assert out.tobytes() == b"".join(bytes([_GUARD]) * gap + record for record in expected[first:])


def _piece(contents: list[bytes]) -> list[Piece]:
    """Looked up, each by itself, so that they do not become one piece."""
    return pieces_of([Choice(np.arange(len(contents)), contents)])
