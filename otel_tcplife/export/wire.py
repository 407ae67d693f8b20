"""Protocol buffers of many records at once: one column of byte strings for each part of a record.

Wire format: https://protobuf.dev/programming-guides/encoding. Records are put together by laying their parts side by
side in a matrix, one row a record, and dropping the bytes that do not count: each step is one NumPy operation for all
records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from otel_tcplife.columns import Codes, Flags, Numbers, Texts

VARINT, FIXED64, LENGTH_DELIMITED = 0, 1, 2
"""Wire types."""

Lengths = npt.NDArray[np.int32]
"""In bytes; no record is longer than 2 GB."""


@dataclass(frozen=True)
class Piece:
    """A byte string for each record: the first lengths[row] bytes of data[row], or the last ones."""

    data: npt.NDArray[np.uint8]
    lengths: Lengths
    at_end: bool = False

    def where(self, present: Flags) -> Piece:
        """Empty where it is not present."""
        return self if present.all() else Piece(self.data, np.where(present, self.lengths, 0), self.at_end)


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


def delimited(number: int, content: bytes) -> bytes:
    """A string, bytes or message field."""
    return tag(number, LENGTH_DELIMITED) + varint(len(content)) + content


def varints(values: npt.NDArray[np.uint64], prefix: bytes = b"") -> Piece:
    """Each value as a variable-length integer, behind the same prefix."""
    widest, start = len(varint(int(values.max(initial=0)))), len(prefix)
    data = _behind(prefix, len(values), widest)
    lengths = np.full(len(values), start + 1, np.int32)
    for position in range(widest):
        data[:, start + position] = values & np.uint64(0x7F)
        values = values >> np.uint64(7)
        more = values != 0
        data[:, start + position] |= more.view(np.uint8) << 7
        lengths += more
    return Piece(data, lengths)


def fixed64(values: npt.NDArray[np.uint64] | npt.NDArray[np.float64], prefix: bytes = b"") -> Piece:
    """Each value as 8 bytes, little-endian as all hosts here are, behind the same prefix."""
    data = _behind(prefix, len(values), 8)
    data[:, len(prefix) :] = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), 8)
    return Piece(data, np.full(len(values), data.shape[1], np.int32))


def decimals(values: npt.NDArray[np.uint64], digits: int = 1) -> Piece:
    """Each value in decimal, with leading zeros up to so many digits."""
    widest = max(len(str(int(values.max(initial=0)))), digits)
    data = np.empty((len(values), widest), np.uint8)
    lengths = np.ones(len(values), np.int32)
    for position in reversed(range(widest)):
        tenth = values // np.uint64(10)
        data[:, position] = values - tenth * np.uint64(10) + np.uint64(ord("0"))
        lengths += tenth != 0
        values = tenth
    return Piece(data, np.maximum(lengths, digits), at_end=True)


def text(column: Texts | Numbers) -> Part:
    """Each text in UTF-8, each integer in decimal digits; empty where unknown."""
    if isinstance(column, Texts):
        return Choice(column.codes, [text.encode() for text in column.texts])
    return decimals(column.values, column.digits).where(column.present)


def prefixed(key: bytes, parts: Iterable[Part]) -> list[Piece]:
    """The parts as a length-delimited field of this key: key, length, content."""
    pieces = _pieces(parts)
    lengths = np.zeros(len(pieces[0].lengths), np.uint64)
    for piece in pieces:
        lengths += piece.lengths.astype(np.uint64)
    return [varints(lengths, key), *pieces]


def join(pieces: Sequence[Piece]) -> bytes:
    """All records, one behind the other, each with its pieces in order."""
    widths = [piece.data.shape[1] for piece in pieces]
    data = np.empty((len(pieces[0].lengths), sum(widths)), np.uint8)
    counts = np.empty(data.shape, np.bool_)
    end = 0
    for piece, width in zip(pieces, widths):
        start, end = end, end + width
        data[:, start:end] = piece.data
        lengths: npt.NDArray[np.int16] = piece.lengths.astype(np.int16)[:, None]
        if int(lengths.min(initial=width)) == width:
            counts[:, start:end] = True
        elif piece.at_end:
            counts[:, start:end] = _POSITIONS[:width] >= width - lengths
        else:
            np.less(_POSITIONS[:width], lengths, out=counts[:, start:end])
    return data[counts].tobytes()


_POSITIONS = np.arange(np.iinfo(np.int16).max, dtype=np.int16)
_MOST_COMBINATIONS = 1 << 10


def _behind(prefix: bytes, count: int, width: int) -> npt.NDArray[np.uint8]:
    data = np.empty((count, len(prefix) + width), np.uint8)
    data[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    return data


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
    lengths = np.array([len(content) for content in contents], np.int32)
    width = max(int(lengths.max()), 1)
    table = np.array(contents, f"S{width}").view(np.uint8).reshape(len(contents), width)
    return Piece(table[choice.codes], lengths[choice.codes])
