"""Lines to rows: each is read under the header that it follows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from otel_tcplife.errors import BadUsage
from otel_tcplife.replay.lines import LONGEST_LINE
from otel_tcplife.replay.row import COLUMNS, REQUIRED, Row, Unreadable, row, shown

# tcplife ends each line with two decimals: a last line without its newline may have lost some of them
_ENDS_WHOLE = re.compile(rb"\.[0-9]{2}$|,-$")
_REMEDY = "record with `tcplife -s`, and -T to have the times"


class Header(NamedTuple):
    """The columns of the rows that follow."""

    columns: list[bytes]


Line: TypeAlias = Row | Header | Unreadable | None
"""What a line is; None if it is blank."""


def parse(chunks: Iterable[list[bytes]], name: str) -> Iterator[list[Line]]:
    """What each line is, with its newline, for some lines at a time. `name` is that of the input, for messages.

    Raise BadUsage where the first line that is not blank is no header, or where there is none.
    """
    header: Header | None = None
    for lines in chunks:
        parsed: list[Line] = []
        for line in lines:
            found = _parse(line, header)
            if isinstance(found, Header):
                header = found
            elif found and not header:
                first = shown(line.rstrip(b"\r\n"))
                raise BadUsage(f"{name} is not tcplife CSV: its first line is {first}", _REMEDY)
            parsed.append(found)
        yield parsed
    if not header:
        raise BadUsage(f"{name} is empty", _REMEDY)


def _parse(line: bytes, header: Header | None) -> Line:
    text = line.rstrip(b"\r\n")
    if not text.strip():
        return None
    if len(text) > LONGEST_LINE:
        return Unreadable(f"longer than {LONGEST_LINE} bytes")
    fields = text.split(b",")
    if fields[-1] in COLUMNS and _names_columns(fields):
        return Header(fields)
    if not header:
        return Unreadable("no header came before it")
    if not line.endswith(b"\n") and not _ENDS_WHOLE.search(text):
        return Unreadable("cut off: it has no end of line")
    try:
        return row(_cells(fields, header.columns))
    except Unreadable as error:
        return error


def _names_columns(fields: list[bytes]) -> bool:
    return REQUIRED <= set(fields) <= COLUMNS and len(set(fields)) == len(fields)


def _cells(fields: list[bytes], columns: list[bytes]) -> dict[bytes, bytes]:
    surplus = len(fields) - len(columns)
    if surplus < 0 or (surplus and b"COMM" not in columns):
        raise Unreadable(f"{len(fields)} fields where the header has {len(columns)}")
    if surplus:
        # of all columns, only COMM can hold commas
        at = columns.index(b"COMM")
        fields = [*fields[:at], b",".join(fields[at : at + surplus + 1]), *fields[at + surplus + 1 :]]
    return dict(zip(columns, fields, strict=True))
