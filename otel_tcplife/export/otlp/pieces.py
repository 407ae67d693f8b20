"""Byte strings of many records at once: records are put together of pieces, one column of byte strings for each.

The pieces are laid side by side in a matrix, one row a record, and the bytes that do not count are dropped: each step
is one NumPy operation for all records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from otel_tcplife.columns import Codes, Flags

Lengths = npt.NDArray[np.int32]
"""In bytes; no record is longer than 2 GB."""


Matrix = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Piece:
    """A byte string for each record: of the `width` bytes of its row, the first lengths[row], or the last ones."""

    width: int
    lengths: Lengths | None
    """None where they are `width` in each row."""
    write: Callable[[Matrix, slice], None] | None
    """Fills a matrix of `width` columns, whose rows begin with the template, for these of the records; None where the
    template is all that there is."""
    template: bytes = b""
    at_end: bool = False

    def where(self, present: Flags) -> Piece:
        """Empty where it is not present."""
        if present.all():
            return self
        lengths = np.int32(self.width) if self.lengths is None else self.lengths
        return replace(self, lengths=np.where(present, lengths, np.int32(0)))


NOTHING = Piece(0, None, None)
"""Empty in each record."""


@dataclass(frozen=True)
class Choice:
    """A byte string for each record that is one of a few: the one at its code, or none where that is -1."""

    codes: Codes
    contents: Sequence[bytes]


Part = Piece | Choice


def pieces_of(parts: Iterable[Part]) -> list[Piece]:
    """The parts as bytes; choices that follow one another become one, as looking bytes up costs the same for more."""
    pieces: list[Piece] = []
    choices: list[Choice] = []
    for part in parts:
        if isinstance(part, Choice):
            choices.append(part)
        elif part.width:
            pieces += [*map(_look_up, _merged(choices)), part]
            choices = []
    return [piece for piece in [*pieces, *map(_look_up, _merged(choices))] if piece.width]


def record_lengths(pieces: Sequence[Piece], rows: int) -> Lengths:
    """How long each record is that has these pieces."""
    lengths = np.full(rows, sum(piece.width for piece in pieces if piece.lengths is None), np.int32)
    for piece in pieces:
        if piece.lengths is not None:
            lengths += piece.lengths
    return lengths


class Joined:
    """Records that are put together of pieces: a block of them at a time, which fits into the cache of a CPU."""

    def __init__(self, pieces: Sequence[Piece], rows: int) -> None:
        """`rows` is how many records there are."""
        template = b"".join(piece.template.ljust(piece.width, b"\0") for piece in pieces)
        self._data = np.empty((min(rows, _MOST_ROWS), len(template)), np.uint8)
        self._data[:] = np.frombuffer(template, np.uint8)
        self._counts = np.ones(self._data.shape, np.bool_)
        ends = accumulate(piece.width for piece in pieces)
        self._placed = [_Placed(piece, end - piece.width) for piece, end in zip(pieces, ends)]

    def blocks(self, first: int, end: int) -> Iterator[Matrix]:
        """The bytes of these records, one behind the other, each with its pieces in order."""
        # Of the same height, about: a block of a few rows costs nearly as much as a large one
        blocks = max(-(-(end - first) // _MOST_ROWS), 1)
        height = max(-(-(end - first) // blocks), 1)
        for start in range(first, end, height):
            rows = slice(start, min(start + height, end))
            data, counts = self._data[: rows.stop - start], self._counts[: rows.stop - start]
            for piece in self._placed:
                piece.fill(data, counts, rows)
            yield data[counts]


class _Placed:
    """A piece in its columns of the matrix."""

    def __init__(self, piece: Piece, start: int) -> None:
        self._write = piece.write
        self._columns = slice(start, start + piece.width)
        self._lengths = _varying(piece)
        self._width = piece.width if piece.at_end else 0
        self._positions = _POSITIONS[: piece.width]

    def fill(self, data: Matrix, counts: Flags, rows: slice) -> None:
        """Write its bytes of these records, and which of them count."""
        if self._write:
            self._write(data[:, self._columns], rows)
        if self._lengths is None:
            return
        if self._width:
            np.greater_equal(self._positions, self._width - self._lengths[rows], out=counts[:, self._columns])
        else:
            np.less(self._positions, self._lengths[rows], out=counts[:, self._columns])


def _varying(piece: Piece) -> npt.NDArray[np.int16] | None:
    if piece.lengths is None or int(piece.lengths.min(initial=piece.width)) == piece.width:
        return None
    return piece.lengths.astype(np.int16)[:, None]


_MOST_ROWS = 512
"""About 0.5 MB, and as much of flags: more would not fit into the cache of a CPU."""
_POSITIONS = np.arange(np.iinfo(np.int16).max, dtype=np.int16)
_MOST_COMBINATIONS = 1 << 10


def _merged(choices: Iterable[Choice]) -> Iterable[Choice]:
    """Fewer choices of the same bytes, none of too many combinations to look each up."""
    group: list[Choice] = []
    combinations = 1
    for choice in choices:
        combinations *= len(choice.contents) + 1
        if combinations > _MOST_COMBINATIONS and group:
            yield _combined(group)
            group, combinations = [], len(choice.contents) + 1
        group.append(choice)
    if group:
        yield _combined(group)


def _combined(choices: Sequence[Choice]) -> Choice:
    """One choice of the combinations that there are, of which not more are possible than _MOST_COMBINATIONS."""
    if len(choices) == 1:
        return choices[0]
    sizes = [len(choice.contents) + 1 for choice in choices]
    keys = np.zeros(len(choices[0].codes), np.intp)
    for choice, size in zip(choices, sizes):
        keys = keys * size + (choice.codes + 1)
    used = np.flatnonzero(np.bincount(keys, minlength=1))
    codes = np.empty(int(used.max(initial=0)) + 1, np.intp)
    codes[used] = np.arange(len(used))
    of_each: list[list[int]] = np.transpose(np.unravel_index(used, sizes)).tolist()
    contents = [b"".join([choice.contents[code - 1] for choice, code in zip(choices, row) if code]) for row in of_each]
    return Choice(codes[keys], contents)


def _look_up(choice: Choice) -> Piece:
    if len(choice.codes) and (choice.codes == choice.codes[0]).all():
        code = int(choice.codes[0])
        return Piece(len(choice.contents[code]), None, None, choice.contents[code]) if code >= 0 else NOTHING
    contents = [*choice.contents, b""]  # which is where a code of -1 leads
    lengths = np.fromiter(map(len, contents), np.int32, len(contents))
    width = max(int(lengths.max()), 1)
    # A row is copied as a whole, which takes half the time of so many bytes
    table = np.array(contents, f"S{width}").view(f"V{width}")

    def write(matrix: Matrix, rows: slice) -> None:
        matrix.view(table.dtype)[:, 0] = table.take(choice.codes[rows])

    return Piece(width, lengths.take(choice.codes), write)
