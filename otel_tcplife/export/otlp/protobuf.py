"""Protocol buffers of many records at once: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from otel_tcplife.columns import DictionaryColumn, NumericColumn
from otel_tcplife.export.otlp.numbers import decimals, varint, varints
from otel_tcplife.export.otlp.pieces import Choice, Part, Piece, pieces_of, record_lengths

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
"""Wire types."""


@lru_cache(maxsize=256)
def tag(number: int, wire_type: int) -> bytes:
    """The key of a field."""
    return varint(number << 3 | wire_type)


def before(number: int, length: int) -> bytes:
    """What stands before the content of a string, bytes or message field."""
    return tag(number, LENGTH_DELIMITED) + varint(length)


def delimited(number: int, content: bytes) -> bytes:
    """A string, bytes or message field."""
    return before(number, len(content)) + content


def text(column: DictionaryColumn | NumericColumn) -> Part:
    """Each text in UTF-8, each integer in decimal digits; empty where unknown."""
    if isinstance(column, DictionaryColumn):
        return Choice(column.codes, column.encoded)
    known = column.values if column.present.all() else np.where(column.present, column.values, np.uint64(0))
    return decimals(known, column.digits).where(column.present)


def prefixed(key: bytes, parts: Iterable[Part], rows: int) -> list[Piece]:
    """The parts as a length-delimited field of this key: key, length, content."""
    pieces = pieces_of(parts)
    return [varints(record_lengths(pieces, rows).astype(np.uint64), key), *pieces]
