"""Byte strings of many records at once: records are put together of pieces, one column of byte strings for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from otel_tcplife.columns import Ascii, Codes, Flags

Lengths = npt.NDArray[np.int32]
"""In bytes; no record is longer than 2 GB."""


Matrix = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Piece:
    """A byte string for each record: of the `width` bytes of its row, the first lengths[row]."""

    width: int
    lengths: Lengths | None
    """None where they are `width` in each row."""
    write: Callable[[Matrix, slice], None] | None
    """Fills a matrix of `width` columns, whose rows begin with the template, for these of the records; None where the
    template is all that there is."""
    template: bytes = b""

    def where(self, present: Flags) -> Piece:
        """Empty where it is not present."""
        if present.all():
            return self
        lengths = np.int32(self.width) if self.lengths is None else self.lengths
        return replace(self, lengths=np.where(present, lengths, np.int32(0)))


NOTHING = Piece(0, None, None)
"""Empty in each record."""


def constant_piece(content: bytes) -> Piece:
    """The same in each record."""
    return Piece(len(content), None, None, content)


@dataclass(frozen=True)
class Choice:
    """A byte string for each record that is one of a few: the one at its code, or none where that is -1."""

    codes: Codes
    contents: Sequence[bytes] | Ascii


Part = Piece | Choice

MOST_COMBINATIONS = 1 << 10
"""Of choices that follow one another and are looked up as one."""


def pieces_of(parts: Iterable[Part]) -> list[Piece]:
    """The parts as bytes; choices that follow one another become one, as looking bytes up costs the same for more."""
    pieces: list[Piece] = []
    choices: list[Choice] = []
    for part in parts:
        if isinstance(part, Choice):
            choices.append(part)
        elif part.width:
            pieces += [*map(look_up, _merged(choices)), part]
            choices = []
    return [piece for piece in [*pieces, *map(look_up, _merged(choices))] if piece.width]


def behind(prefix: bytes, value: Piece, places: Sequence[int] = ()) -> Piece:
    """The value behind a prefix, of which the bytes at these places say how many bytes follow them: less than 128."""
    start, width = len(prefix), len(prefix) + value.width
    template = bytearray(prefix)
    for place in places:
        template[place] = width - place - 1

    def write(matrix: Matrix, rows: slice) -> None:
        if value.write:
            value.write(matrix[:, start:], rows)
        if value.lengths is not None:
            for place in places:
                matrix[:, place] = value.lengths[rows] + (start - place - 1)

    lengths = None if value.lengths is None else value.lengths + np.int32(start)
    return Piece(width, lengths, write, bytes(template) + value.template)


def record_lengths(pieces: Sequence[Piece], rows: int) -> Lengths:
    """How long each record is that has these pieces."""
    lengths = np.full(rows, sum(piece.width for piece in pieces if piece.lengths is None), np.int32)
    for piece in pieces:
        if piece.lengths is not None:
            lengths += piece.lengths
    return lengths


def _merged(choices: Iterable[Choice]) -> Iterable[Choice]:
    """Fewer choices of the same bytes, none of too many combinations to look each up."""
    group: list[Choice] = []
    combinations = 1
    for choice in choices:
        combinations *= len(choice.contents) + 1
        if combinations > MOST_COMBINATIONS and group:
            yield _combined(group)
            group, combinations = [], len(choice.contents) + 1
        group.append(choice)
    if group:
        yield _combined(group)


def _combined(choices: Sequence[Choice]) -> Choice:
    """One choice of the combinations that there are, of which not more are possible than MOST_COMBINATIONS."""
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


def look_up(choice: Choice) -> Piece:
    """The content of each record."""
    if len(choice.codes) and (choice.codes == choice.codes[0]).all():
        code = int(choice.codes[0])
        return constant_piece(choice.contents[code]) if code >= 0 else NOTHING
    contents, lengths = _with_nothing(choice.contents)
    # A row is copied as a whole, which takes half the time of so many bytes
    width = contents.itemsize
    table = contents.view(f"V{width}")

    def write(matrix: Matrix, rows: slice) -> None:
        matrix.view(table.dtype)[:, 0] = table.take(choice.codes[rows])

    return Piece(width, lengths.take(choice.codes), write)


def _with_nothing(contents: Sequence[bytes] | Ascii) -> tuple[npt.NDArray[np.bytes_], Lengths]:
    """The contents, and at their end an empty one, which is where a code of -1 leads; and how long each is."""
    if isinstance(contents, np.ndarray):
        array = np.append(contents, b"")
        return array, np.char.str_len(array).astype(np.int32)
    listed = [*contents, b""]
    lengths = np.fromiter(map(len, listed), np.int32, len(listed))
    return np.array(listed, f"S{max(int(lengths.max()), 1)}"), lengths
