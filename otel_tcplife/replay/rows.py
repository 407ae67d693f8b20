"""The text of a recording to rows: the line that names the columns, the cells below it, and what is unreadable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from otel_tcplife.session import COMM_SIZE, UNKNOWN_BYTES, UNKNOWN_TIME

_REQUIRED = frozenset(b"LADDR,LPORT,RADDR,RPORT,MS".split(b","))
"""Columns without which there is no row."""
_COLUMNS = _REQUIRED | frozenset(b"TIME,TIME(s),PID,COMM,IP,TX_KB,RX_KB".split(b","))
_UNKNOWN = b"-"
"""What table.py prints under TIME, TIME(s) and MS."""
_MAPPED = bytes(10) + b"\xff\xff"

_NARROWEST_COMM, _WIDEST_COMM = 10, 16
"""Characters that tcplife's tables have room for."""
_COMM = re.compile(rb"(?<!\S)COMM +(?=\S)")
# What repr() makes of bytes: https://docs.python.org/3/library/stdtypes.html#bytes-objects
_CHARACTERS = rb"((?:[^\\]|\\x[0-9a-f]{2}|\\[\\'\"tnr])*)"
_LITERAL = re.compile(rb"b(['\"])" + _CHARACTERS + rb"\1", re.DOTALL)
_CUT_LITERAL = re.compile(rb"b['\"]()" + _CHARACTERS + rb"(?:\\(?:x[0-9a-f]?)?)?", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|(.))", re.DOTALL)
_CONTROLS = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}

_TIME_OF_DAY = re.compile(rb"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])")
_SECONDS = re.compile(rb"-?[0-9]{1,10}(?:\.[0-9]+)?")
_MILLISECONDS = re.compile(rb"[0-9]{1,13}(?:\.[0-9]+)?")
_KILOBYTES = re.compile(rb"([0-9]{1,20})(?:\.([0-9]{1,6}))?")
_MAX_KILOBYTES = (1 << 54) - 1

_NUMBER = re.compile(rb"[0-9]+(?:[.,][0-9]+)*")
_LETTERS = re.compile(rb"[A-Za-z]+")


class Unreadable(Exception):
    """Why a line is not a session."""


class Header(NamedTuple):
    """The columns of the rows that follow, and how these are written."""

    columns: tuple[bytes, ...]
    is_table: bool
    """Whether the rows are a table, not CSV."""
    prefix: tuple[bytes, ...]
    """The pattern of each word before the first column, such as the time that a log adds. Each row has the same."""
    comm_width: int | None
    """To how many characters the table cuts COMM. None in CSV, and where a copy of a table has lost its spaces."""


class Row(NamedTuple):
    """One session. Times are in ns, except time_of_day, and None where unknown; sizes are in bytes."""

    time_of_day: int | None
    """Seconds since local midnight."""
    since_start: int | None
    pid: int
    comm: bytes
    ip_version: int
    local_address: bytes
    local_port: int
    peer_address: bytes
    peer_port: int
    bytes_sent: int
    bytes_received: int
    duration: int


def header_of(text: bytes) -> Header | None:
    """The header, if this line names the columns."""
    if not text.endswith(tuple(_COLUMNS)):
        return None
    words = text.split()
    is_table = b"," not in words[-1]
    if is_table:
        first = len(words)
        while first and words[first - 1] in _COLUMNS:
            first -= 1
        columns = words[first:]
    else:
        first = len(words) - 1
        columns = words[-1].split(b",")
    if not (_REQUIRED <= set(columns) <= _COLUMNS and len(set(columns)) == len(columns)):
        return None
    prefix = tuple(map(_pattern, words[:first]))
    return Header(tuple(columns), is_table, prefix, _comm_width(text) if is_table else None)


def row_of(text: bytes, header: Header) -> Row:
    """The session of this line below the header. Raise Unreadable where a cell cannot belong to its column."""
    if header.prefix:
        text = _without_prefix(text, header.prefix)
    values = _table_cells(text, header) if header.is_table else _csv_cells(text, header.columns)
    cells = dict(zip(header.columns, values, strict=True))
    ip_version, local_address, peer_address = _addresses(cells)
    return Row(
        *_times(cells),
        _whole(cells, b"PID", 0xFFFF_FFFF),
        _comm_of(cells.get(b"COMM", b""), header.comm_width),
        ip_version,
        local_address,
        _whole(cells, b"LPORT", 0xFFFF),
        peer_address,
        _whole(cells, b"RPORT", 0xFFFF),
        _size(cells, b"TX_KB"),
        _size(cells, b"RX_KB"),
        _duration(cells[b"MS"]),
    )


def shown(text: bytes) -> str:
    """The text for a message: shortened, and harmless to a terminal."""
    return ascii(text[:60].decode("utf-8", "replace")) + ("..." if len(text) > 60 else "")


def _comm_width(text: bytes) -> int | None:
    found = _COMM.search(text)
    width = len(found[0]) - 1 if found else 0
    return width if width >= _NARROWEST_COMM else None


def _without_prefix(text: bytes, prefix: tuple[bytes, ...]) -> bytes:
    """The row without the words before its first cell, which must match those before the header."""
    parts = text.split(None, len(prefix))
    if len(parts) <= len(prefix) or tuple(map(_pattern, parts[:-1])) != prefix:
        raise Unreadable(f"it does not begin as the line of its header does: {shown(text)}")
    return parts[-1]


def _pattern(word: bytes) -> bytes:
    """The word with each number replaced by 0, and each run of letters by a."""
    return _NUMBER.sub(b"0", _LETTERS.sub(b"a", word))


def _csv_cells(text: bytes, columns: tuple[bytes, ...]) -> list[bytes]:
    fields = text.split(b",")
    surplus = len(fields) - len(columns)
    if surplus < 0 or (surplus and b"COMM" not in columns):
        raise _wrong_number(len(fields), columns)
    if surplus:  # only COMM can hold commas
        at = columns.index(b"COMM")
        fields = [*fields[:at], b",".join(fields[at : at + surplus + 1]), *fields[at + surplus + 1 :]]
    return fields


def _table_cells(text: bytes, header: Header) -> list[bytes]:
    """Only COMM can hold spaces, or be empty: its cell is what the words of the other columns leave over."""
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
    """Whether the column after so many words is empty: there are that many spaces, and one more on each side."""
    parts = text.split(None, at)
    if not at or len(parts) <= at:
        return False
    before = text[: len(text) - len(parts[at])]
    return len(before) - len(before.rstrip()) >= width + 2


def _wrong_number(fields: int, columns: tuple[bytes, ...]) -> Unreadable:
    return Unreadable(f"{fields} fields where the header has {len(columns)}")


def _comm_of(cell: bytes, width: int | None) -> bytes:
    """The name of the process. Some versions of bcc print it as `b'curl'` under Python 3.

    `width` is the number of characters to which COMM is cut: the closing quote of that form can then be missing.
    """
    literal = _LITERAL.fullmatch(cell)
    if not literal and len(cell) == width:
        literal = _CUT_LITERAL.fullmatch(cell)
    return (_ESCAPE.sub(_unescaped, literal[2]) if literal else cell)[: COMM_SIZE - 1]


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode()) if escape[1] else _CONTROLS.get(escape[2], escape[2])


def _addresses(cells: Mapping[bytes, bytes]) -> tuple[int, bytes, bytes]:
    """The IP version, LADDR and RADDR."""
    local, peer = _address(cells, b"LADDR"), _address(cells, b"RADDR")
    ip_version = 4 if local.startswith(_MAPPED) else 6
    if peer.startswith(_MAPPED) != (ip_version == 4):
        raise Unreadable("LADDR and RADDR are of different IP versions")
    written_as = b"6" if b":" in cells[b"LADDR"] else b"4"
    if cells.get(b"IP", written_as) != written_as:
        raise Unreadable(f"IP is {shown(cells[b'IP'])} where LADDR is {shown(cells[b'LADDR'])}")
    return ip_version, local, peer


def _address(cells: Mapping[bytes, bytes], column: bytes) -> bytes:
    packed = _packed(cells[column])
    if packed is None:
        raise Unreadable(f"{column.decode()} is no IP address: {shown(cells[column])}")
    return packed


@lru_cache(maxsize=4096)
def _packed(text: bytes) -> bytes | None:
    try:
        return inet_pton(AF_INET6, text.decode()) if b":" in text else _MAPPED + inet_pton(AF_INET, text.decode())
    except (OSError, ValueError):
        return None


def _whole(cells: Mapping[bytes, bytes], column: bytes, maximum: int) -> int:
    """A whole number; 0 where there is no such column."""
    text = cells.get(column, b"0")
    if text.isdigit() and len(text) <= 20 and (number := int(text)) <= maximum:
        return number
    raise Unreadable(f"{column.decode()} is no whole number from 0 to {maximum}: {shown(text)}")


def _size(cells: Mapping[bytes, bytes], column: bytes) -> int:
    """KB in bytes. libbpf's tcplife prints KB with two decimals."""
    text = cells.get(column)
    if text is None:
        return UNKNOWN_BYTES
    found = _KILOBYTES.fullmatch(text)
    if not found or int(found[1]) > _MAX_KILOBYTES:
        raise Unreadable(f"{column.decode()} is no number of KB from 0 to {_MAX_KILOBYTES}: {shown(text)}")
    return int(found[1]) * 1024 + min(round(float(b"0." + (found[2] or b"0")) * 1024), 1023)


def _duration(text: bytes) -> int:
    if text == _UNKNOWN:
        return UNKNOWN_TIME
    if not _MILLISECONDS.fullmatch(text):
        raise Unreadable(f"MS is no number of milliseconds: {shown(text)}")
    return round(float(text) * 1e6)


def _times(cells: Mapping[bytes, bytes]) -> tuple[int | None, int | None]:
    """Row.time_of_day and Row.since_start. libbpf's tcplife prints the time of day under TIME(s)."""
    time_of_day, since_start = cells.get(b"TIME", _UNKNOWN), cells.get(b"TIME(s)", _UNKNOWN)
    if b"TIME" not in cells and _TIME_OF_DAY.fullmatch(since_start):
        time_of_day, since_start = since_start, _UNKNOWN
    return _time_of_day(time_of_day), _since_start(since_start)


def _since_start(text: bytes) -> int | None:
    """TIME(s). It can be negative: sessions reach tcplife in order from each CPU, but not across CPUs."""
    if text == _UNKNOWN:
        return None
    if not _SECONDS.fullmatch(text):
        raise Unreadable(f"TIME(s) is no number of seconds: {shown(text)}")
    return round(float(text) * 1e6) * 1000


def _time_of_day(text: bytes) -> int | None:
    if text == _UNKNOWN:
        return None
    found = _TIME_OF_DAY.fullmatch(text)
    if not found:
        raise Unreadable(f"TIME is no time of day: {shown(text)}")
    hours, minutes, seconds = map(int, found.groups())
    return (hours * 60 + minutes) * 60 + seconds
