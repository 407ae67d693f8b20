"""Protocol buffers of many records at once: one column of byte strings for each part of a record.

Wire format: https://protobuf.dev/programming-guides/encoding. Records are put together by laying their parts side by
side in a matrix, one row a record, and dropping the bytes that do not count: each step is one NumPy operation for all
records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from otel_tcplife.columns import Codes, DictionaryColumn, Flags, NumericColumn

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
"""Wire types."""

Lengths = npt.NDArray[np.int32]
"""In bytes; no record is longer than 2 GB."""


Matrix = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Piece:
    """A byte string for each record: of the `width` bytes of its row, the first lengths[row], or the last ones."""

    width: int
    lengths: Lengths | None
    """None where they are `width` in each row."""
    write: Callable[[Matrix, slice], None]
    """Fills a matrix of `width` columns, whose rows begin with the template, for these of the records."""
    template: bytes = b""
    at_end: bool = False

    def where(self, present: Flags) -> Piece:
        """Empty where it is not present."""
        if present.all():
            return self
        lengths = np.int32(self.width) if self.lengths is None else self.lengths
        return replace(self, lengths=np.where(present, lengths, np.int32(0)))


@dataclass(frozen=True)
class Choice:
    """A byte string for each record that is one of a few: the one at its code, or none where that is -1."""

    codes: Codes
    contents: Sequence[bytes]


Part = Piece | Choice


def tag(number: int, wire_type: int) -> bytes:
    """The key of a field."""
    return varint(number << 3 | wire_type)


def varint(value: int) -> bytes:
    """One variable-length integer."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def before(number: int, length: int) -> bytes:
    """What stands before the content of a string, bytes or message field."""
    return tag(number, LENGTH_DELIMITED) + varint(length)


def delimited(number: int, content: bytes) -> bytes:
    """A string, bytes or message field."""
    return before(number, len(content)) + content


def varints(values: npt.NDArray[np.uint64], prefix: bytes = b"") -> Piece:
    """Each value as a variable-length integer, behind the same prefix."""
    start = len(prefix)
    sevens = [values]
    lengths = np.full(len(values), start + 1, np.int32)
    while (rest := sevens[-1] >> np.uint64(7)).any():
        lengths += rest != 0
        sevens.append(rest)

    def write(matrix: Matrix, rows: slice) -> None:
        for position, seven in enumerate(sevens, start):
            low = seven[rows].astype(np.uint8) & np.uint8(0x7F)
            matrix[:, position] = low | (seven[rows] > 0x7F).view(np.uint8) << np.uint8(7)  # more follow

    return Piece(start + len(sevens), lengths if len(sevens) > 1 else None, write, prefix)


def fixed64(values: npt.NDArray[np.uint64] | npt.NDArray[np.float64], prefix: bytes = b"") -> Piece:
    """Each value as 8 bytes, little-endian as all hosts here are, behind the same prefix."""

    def write(matrix: Matrix, rows: slice) -> None:
        matrix[:, len(prefix) :].view(values.dtype)[:, 0] = values[rows]

    return Piece(len(prefix) + 8, None, write, prefix)


def fixed_bytes(values: Matrix, prefix: bytes = b"") -> Piece:
    """Each row of the matrix as it is, behind the same prefix."""

    def write(matrix: Matrix, rows: slice) -> None:
        matrix[:, len(prefix) :] = values[rows]

    return Piece(len(prefix) + values.shape[1], None, write, prefix)


def decimals(values: npt.NDArray[np.uint64], digits: int = 1) -> Piece:
    """Each value in decimal, with leading zeros up to so many digits."""
    tens = [values]
    lengths = np.full(len(values), 1, np.int32)
    while (rest := tens[-1] // np.uint64(10)).any() or len(tens) < digits:
        lengths += rest != 0
        tens.append(rest)

    def write(matrix: Matrix, rows: slice) -> None:
        for position, (value, tenth) in enumerate(zip(tens, [*tens[1:], np.zeros_like(values)]), start=1):
            matrix[:, -position] = value[rows] - tenth[rows] * np.uint64(10) + np.uint64(ord("0"))

    return Piece(len(tens), np.maximum(lengths, digits), write, at_end=True)


def text(column: DictionaryColumn | NumericColumn) -> Part:
    """Each text in UTF-8, each integer in decimal digits; empty where unknown."""
    if isinstance(column, DictionaryColumn):
        return Choice(column.codes, column.encoded)
    return decimals(column.values, column.digits).where(column.present)


def prefixed(key: bytes, parts: Iterable[Part], rows: int) -> list[Piece]:
    """The parts as a length-delimited field of this key: key, length, content."""
    pieces = _pieces(parts)
    return [varints(record_lengths(pieces, rows).astype(np.uint64), key), *pieces]


def record_lengths(pieces: Sequence[Piece], rows: int) -> Lengths:
    """How long each record is that has these pieces."""
    lengths = np.full(rows, sum(piece.width for piece in pieces if piece.lengths is None), np.int32)
    for piece in pieces:
        if piece.lengths is not None:
            lengths += piece.lengths
    return lengths


def join(pieces: Sequence[Piece], rows: int) -> Iterable[Matrix]:
    """All records, one behind the other, each with its pieces in order; in blocks that fit into a CPU's cache."""
    template = b"".join(piece.template.ljust(piece.width, b"\0") for piece in pieces)
    # Of the same height, about: a block of a few rows costs nearly as much as a large one
    tallest = -(-rows // max(round(rows / _ROWS), 1))
    data = np.empty((tallest, len(template)), np.uint8)
    data[:] = np.frombuffer(template, np.uint8)
    counts = np.ones(data.shape, np.bool_)
    varying = [_varying(piece) for piece in pieces]
    for first in range(0, rows, max(tallest, 1)):
        block = slice(first, min(first + tallest, rows))
        height = block.stop - first
        end = 0
        for piece, lengths in zip(pieces, varying):
            start, end = end, end + piece.width
            piece.write(data[:height, start:end], block)
            if lengths is not None:
                counts[:height, start:end] = _counting(piece, lengths[block])
        yield data[:height][counts[:height]]


def _varying(piece: Piece) -> npt.NDArray[np.int16] | None:
    if piece.lengths is None or int(piece.lengths.min(initial=piece.width)) == piece.width:
        return None
    return piece.lengths.astype(np.int16)[:, None]


def _counting(piece: Piece, lengths: npt.NDArray[np.int16]) -> Flags:
    """Which bytes of its rows count."""
    positions = _POSITIONS[: piece.width]
    return positions >= piece.width - lengths if piece.at_end else positions < lengths


_ROWS = 1024
"""About 1 MB, and as much of flags: more would not fit into the cache of a CPU."""
_POSITIONS = np.arange(np.iinfo(np.int16).max, dtype=np.int16)
_MOST_COMBINATIONS = 1 << 10


def _pieces(parts: Iterable[Part]) -> list[Piece]:
    """The parts as bytes; choices that follow one another become one, as looking bytes up costs the same for more."""
    pieces: list[Piece] = []
    choices: list[Choice] = []
    for part in parts:
        if isinstance(part, Choice):
            choices.append(part)
        else:
            pieces += [*map(_look_up, _merged(choices)), part]
            choices = []
    return [*pieces, *map(_look_up, _merged(choices))]


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
    if len(choices) == 1:
        return choices[0]
    keys = np.zeros(len(choices[0].codes), np.int64)
    for choice in choices:
        keys = keys * (len(choice.contents) + 1) + (choice.codes + 1)
    _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    examples = zip(*(choice.codes[first].tolist() for choice in choices))
    contents = [
        b"".join([choice.contents[int(code)] for choice, code in zip(choices, row) if code >= 0]) for row in examples
    ]
    return Choice(codes, contents)


def _look_up(choice: Choice) -> Piece:
    contents = [*choice.contents, b""]  # which is where a code of -1 leads
    lengths = np.fromiter(map(len, contents), np.int32, len(contents))
    width = max(int(lengths.max()), 1)
    # A row is copied as a whole, which takes half the time of so many bytes
    table = np.array(contents, f"S{width}").view(f"V{width}")

    def write(matrix: Matrix, rows: slice) -> None:
        matrix.view(table.dtype)[:, 0] = table.take(choice.codes[rows])

    return Piece(width, lengths.take(choice.codes), write)
