"""Records that are put together of pieces, many at once.

The pieces of some records are written side by side into a matrix, one row a record, each as wide as its longest. From
there they go to where they belong, one behind the other and still as wide: what does not count at the end of one is
written over by the next one. Each step is one NumPy operation for all of these records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from otel_tcplife.columns import Flags, elements_at_each_byte
from otel_tcplife.export.otlp.pieces import Lengths, Matrix, Piece, record_lengths

Offsets = npt.NDArray[np.int64]
"""In bytes, one for each record."""
Bytes = npt.NDArray[np.uint8]
"""One dimension."""

_MOST_BYTES = 1_250_000
"""Of the matrix, which has room for all records of a request then: what does not depend on their number costs more than
a matrix that is larger than the fastest caches of a CPU."""


class Joined:
    """Records that have these pieces, in this order."""

    def __init__(self, pieces: Sequence[Piece], rows: int) -> None:
        """`rows` is how many records there are."""
        template = b"".join(piece.template.ljust(piece.width, b"\0") for piece in pieces)
        self._height = max(_MOST_BYTES // max(len(template), 1), 1)
        self._data = np.empty((min(rows, self._height), len(template)), np.uint8)
        self._data[:] = np.frombuffer(template, np.uint8)
        ends = accumulate(piece.width for piece in pieces)
        columns = (slice(end - piece.width, end) for piece, end in zip(pieces, ends))
        self._written = [(piece.write, place) for piece, place in zip(pieces, columns) if piece.write]
        self.lengths = record_lengths(pieces, rows)
        self._stretches = list(_stretches(pieces, self.lengths))

    def write(self, out: Bytes, starts: Offsets, first: int) -> None:
        """Write as many records as there are starts into `out`, beginning with the one of this number.

        Nothing is written but the bytes of these records.
        """
        for part in _blocks(len(starts), self._height):
            data = self._data[: part.stop - part.start]
            places = np.array(starts[part])
            rows = slice(first + part.start, first + part.stop)
            for write, columns in self._written:
                write(data[:, columns], rows)
            for stretch in self._stretches:
                stretch.copy(data, out, places, rows)
                places += stretch.width if stretch.lengths is None else stretch.lengths[rows]


def _blocks(rows: int, most: int) -> Iterator[slice]:
    """All rows, in parts of the same height, about: a block of a few rows costs nearly as much as a large one."""
    height = max(-(-rows // max(-(-rows // most), 1)), 1)
    for start in range(0, rows, height):
        yield slice(start, min(start + height, rows))


@dataclass(frozen=True)
class _Stretch:
    """Pieces that follow one another, of which only the last one may vary in length: they are copied at once."""

    start: int
    """The first of its columns of the matrix."""
    width: int
    lengths: Lengths | None
    """None where they are `width` in each record."""
    overruns: Flags | None
    """The records that end before so many bytes have been written; None where there are none."""

    def copy(self, data: Matrix, out: Bytes, places: Offsets, rows: slice) -> None:
        """Copy it from the matrix to these places, which are those of these records."""
        if self.lengths is None or self.overruns is None:
            _copy(data, slice(self.start, self.start + self.width), out, places)
            return
        lengths, overruns = self.lengths[rows], self.overruns[rows]
        widths = np.where(overruns, lengths, np.int32(self.width))
        for width in np.unique(widths).tolist():
            alike = np.flatnonzero(widths == width)
            _copy(data[alike], slice(self.start, self.start + width), out, places[alike])


def _copy(data: Matrix, columns: slice, out: Bytes, places: Offsets) -> None:
    width = columns.stop - columns.start
    if width:
        elements = elements_at_each_byte(out, width)
        elements[places] = data[:, columns].view(elements.dtype)[:, 0]


def _stretches(pieces: Sequence[Piece], lengths: Lengths) -> Iterator[_Stretch]:
    """`lengths` are those of the records."""
    room = np.array(lengths)
    start = width = 0
    for piece in pieces:
        width += piece.width
        if piece.lengths is not None and int(piece.lengths.min(initial=piece.width)) < piece.width:
            overruns = room < width
            of_stretch = piece.lengths + np.int32(width - piece.width)
            yield _Stretch(start, width, of_stretch, overruns if overruns.any() else None)
            room -= of_stretch
            start, width = start + width, 0
    if width:
        yield _Stretch(start, width, None, None)
