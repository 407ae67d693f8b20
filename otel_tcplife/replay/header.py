"""The line that names the columns, of tcplife's table or of its CSV, and the cells of the rows below it."""

from __future__ import annotations

import re
from typing import NamedTuple

from otel_tcplife.replay.row import COLUMNS, REQUIRED, Unreadable, shown

_NAMES = tuple(COLUMNS)
_COMM = re.compile(rb"(?<!\S)COMM +(?=\S)")
_NUMBER = re.compile(rb"[0-9]+(?:[.,][0-9]+)*")
_LETTERS = re.compile(rb"[A-Za-z]+")

_NARROWEST_COMM = 10
_WIDEST_COMM = 16
"""Characters that tcplife's tables have room for."""


class Header(NamedTuple):
    """The columns of the rows that follow, and the form of these."""

    columns: tuple[bytes, ...]
    is_table: bool = False
    """As opposed to CSV."""
    before: tuple[bytes, ...] = ()
    """Shapes of the words before the first column, such as the time that a log puts there: each row has the like."""
    comm_width: int | None = None
    """Characters to which the table cuts COMM; None if it does not, or where a copy has not kept its spaces."""


def header_of(text: bytes) -> Header | None:
    """The header that a line is, if it is one."""
    if not text.endswith(_NAMES):
        return None
    words = text.split()
    is_table = b"," not in words[-1]
    if is_table:
        first = len(words)
        while first and words[first - 1] in COLUMNS:
            first -= 1
        columns = words[first:]
    else:
        first = len(words) - 1
        columns = words[-1].split(b",")
    if not (REQUIRED <= set(columns) <= COLUMNS and len(set(columns)) == len(columns)):
        return None
    before = tuple(map(_shape, words[:first]))
    return Header(tuple(columns), is_table, before, _comm_width(text) if is_table else None)


def cells_of(text: bytes, header: Header) -> dict[bytes, bytes]:
    """The cells of a row by their columns. Raise Unreadable where the row does not have what the header says."""
    if header.before:
        text = _without(text, header.before)
    cells = _table_cells(text, header) if header.is_table else _csv_cells(text, header.columns)
    return dict(zip(header.columns, cells, strict=True))


def _csv_cells(text: bytes, columns: tuple[bytes, ...]) -> list[bytes]:
    fields = text.split(b",")
    surplus = len(fields) - len(columns)
    if surplus < 0 or (surplus and b"COMM" not in columns):
        raise _wrong_number(len(fields), columns)
    if surplus:
        # of all columns, only COMM can hold commas
        at = columns.index(b"COMM")
        fields = [*fields[:at], b",".join(fields[at : at + surplus + 1]), *fields[at + surplus + 1 :]]
    return fields


def _table_cells(text: bytes, header: Header) -> list[bytes]:
    """Of all columns, only COMM can hold spaces, or nothing: it is what the words of the others leave."""
    columns = header.columns
    words = text.split()
    if b"COMM" not in columns:
        if len(words) != len(columns):
            raise _wrong_number(len(words), columns)
        return words
    at = columns.index(b"COMM")
    after = len(columns) - at - 1
    if len(words) < at + after:
        raise _wrong_number(len(words), columns)
    if len(words) > at + after:
        comm = text.split(None, at)[at].rsplit(None, after)[0]
    elif _has_gap(text, at, header.comm_width or _NARROWEST_COMM):
        comm = b""
    else:
        raise _wrong_number(len(words), columns)
    if len(comm.decode("utf-8", "replace")) > (header.comm_width or _WIDEST_COMM):
        raise Unreadable(f"COMM is longer than its column: {shown(comm)}")
    return [*words[:at], comm, *words[len(words) - after :]]


def _has_gap(text: bytes, at: int, width: int) -> bool:
    """Whether a column of this width is empty after so many words: it stands between two spaces."""
    parts = text.split(None, at)
    if not at or len(parts) <= at:
        return False
    before = text[: len(text) - len(parts[at])]
    return len(before) - len(before.rstrip()) >= width + 2


def _comm_width(text: bytes) -> int | None:
    found = _COMM.search(text)
    width = len(found[0]) - 1 if found else 0
    return width if width >= _NARROWEST_COMM else None


def _without(text: bytes, before: tuple[bytes, ...]) -> bytes:
    """The row without the words before it, which must look like those before the header."""
    parts = text.split(None, len(before))
    if len(parts) <= len(before) or tuple(map(_shape, parts[:-1])) != before:
        raise Unreadable(f"it does not begin as the line of its header does: {shown(text)}")
    return parts[-1]


def _shape(word: bytes) -> bytes:
    """The word with each number as 0 and all letters as a."""
    return _NUMBER.sub(b"0", _LETTERS.sub(b"a", word))


def _wrong_number(fields: int, columns: tuple[bytes, ...]) -> Unreadable:
    return Unreadable(f"{fields} fields where the header has {len(columns)}")
