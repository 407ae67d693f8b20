"""Numbers of many records at once, as protocol buffers have them and in decimal: a piece of each record.

Several digits of a number are looked up together in a table, which takes a third of the time of computing each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from otel_tcplife.export.otlp.pieces import Lengths, Matrix, Piece, constant_piece

_Group = npt.NDArray[np.intp]
"""Some digits of each number, as an index of a table."""


def varint(value: int) -> bytes:
    """One variable-length integer."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def varints(values: npt.NDArray[np.uint64], prefix: bytes = b"") -> Piece:
    """Each value as a variable-length integer, behind the same prefix."""
    if _are_the_same(values):
        return constant_piece(prefix + varint(int(values[0])))
    groups, lengths = _groups_of_14_bits(values)
    start, width = len(prefix), int(lengths.max(initial=1))
    columns = [slice(start + 2 * number, min(start + 2 * number + 2, start + width)) for number in range(len(groups))]
    tables = [_VARINTS if column.stop - column.start == 2 else _VARINTS_OF_7_BITS for column in columns]

    def write(matrix: Matrix, rows: slice) -> None:
        for group, column, table in zip(groups, columns, tables):
            matrix[:, column].view(table.dtype)[:, 0] = table.take(group[rows])

    return Piece(start + width, _unless_all(start + lengths, start + width), write, prefix)


def _groups_of_14_bits(values: npt.NDArray[np.uint64]) -> tuple[Sequence[_Group], Lengths]:
    """Two bytes of each varint, as indexes of _VARINTS, and how many bytes it has in all."""
    groups: list[_Group] = []
    lengths: Lengths = np.zeros(len(values), np.int32)
    while True:
        rest = values >> np.uint64(14)
        more = rest != 0
        group: _Group = ((values & np.uint64(0x3FFF)) | (more.astype(np.uint64) << np.uint64(14))).astype(np.intp)
        of_group: Lengths = _VARINT_LENGTHS.take(group)
        lengths = np.where(values != 0, of_group + 2 * len(groups), lengths) if groups else of_group
        groups.append(group)
        if not more.any():
            return groups, lengths
        values = rest


def decimals(values: npt.NDArray[np.uint64], digits: int = 1) -> Piece:
    """Each value in decimal, with leading zeros up to so many digits. None is 10^19 or more."""
    if _are_the_same(values):
        return constant_piece(b"%0*d" % (digits, int(values[0])))
    width = max(len(str(int(values.max(initial=0)))), digits)
    lengths = np.full(len(values), digits, np.int32)
    for more in range(digits, width):
        lengths += values >= _POWERS_OF_TEN[more]
    varying = _unless_all(lengths, width)
    # Zeros behind them make all as wide as the widest
    rest = values if varying is None else values * _POWERS_OF_TEN.take(width - varying)
    ends = range(width, 0, -4)
    groups: list[_Group] = []
    for _ in ends:
        above = rest // np.uint64(10_000)
        groups.append((rest - above * np.uint64(10_000)).astype(np.intp))
        rest = above

    def write(matrix: Matrix, rows: slice) -> None:
        for group, end in zip(groups, ends):
            table = _DECIMALS[min(end, 4)]
            matrix[:, max(end - 4, 0) : end].view(table.dtype)[:, 0] = table.take(group[rows])

    return Piece(width, varying, write)


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


def _are_the_same(values: npt.NDArray[np.uint64]) -> bool:
    """Whether there are some, and none differs, as of the user id of most batches."""
    return len(values) > 0 and bool((values == values[0]).all())


def _unless_all(lengths: Lengths, width: int) -> Lengths | None:
    return None if int(lengths.min(initial=width)) == width else lengths


def _varint_table() -> Matrix:
    """Two bytes for each number below 2^14, first those after which nothing follows, then those with more to come."""
    numbers = np.arange(1 << 14)
    low, high = (numbers & 0x7F).astype(np.uint8), (numbers >> 7).astype(np.uint8)
    more = np.uint8(0x80)
    last = np.stack([low | (high != 0) * more, high], axis=1)
    return np.concatenate([last, np.stack([low | more, high | more], axis=1)])


def _rows(matrix: Matrix) -> npt.NDArray[np.void]:
    """Each row as one element, as a row is copied as a whole in half the time of so many bytes."""
    return np.ascontiguousarray(matrix).view(f"V{matrix.shape[1]}")[:, 0]


_VARINTS, _VARINTS_OF_7_BITS = _rows(_varint_table()), _rows(_varint_table()[:, :1])
_VARINT_LENGTHS = np.where(np.arange(1 << 15) < 1 << 7, np.int32(1), np.int32(2))

_FOUR_DIGITS = (np.arange(10_000)[:, None] // [1000, 100, 10, 1] % 10 + ord("0")).astype(np.uint8)
_DECIMALS = {size: _rows(_FOUR_DIGITS[:, 4 - size :]) for size in range(1, 5)}
"""The last digits of each number below 10,000, by how many digits."""
_POWERS_OF_TEN = np.array([10**power for power in range(20)], np.uint64)
