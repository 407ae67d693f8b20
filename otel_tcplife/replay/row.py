"""The cells of one line that tcplife printed to a Row, whatever the order of the columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from otel_tcplife.replay.comm import comm_of
from otel_tcplife.session import UNKNOWN_BYTES, UNKNOWN_TIME

REQUIRED = frozenset(b"LADDR,LPORT,RADDR,RPORT,MS".split(b","))
"""Columns without which there is no row."""

COLUMNS = REQUIRED | frozenset(b"TIME,TIME(s),PID,COMM,IP,TX_KB,RX_KB".split(b","))

_UNKNOWN = b"-"  # written by table.py under TIME, TIME(s) and MS
_TIME_OF_DAY = re.compile(rb"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])")
_SECONDS = re.compile(rb"-?[0-9]{1,10}(?:\.[0-9]+)?")
_MILLISECONDS = re.compile(rb"[0-9]{1,13}(?:\.[0-9]+)?")
_KILOBYTES = re.compile(rb"([0-9]{1,20})(?:\.([0-9]{1,6}))?")
_MOST_KILOBYTES = (1 << 54) - 1
_MAPPED = bytes(10) + b"\xff\xff"


class Row(NamedTuple):
    """One session; times in ns but for time_of_day, None where unknown, and sizes in bytes."""

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


class Unreadable(Exception):
    """Why a line is not a session."""


def row(cells: Mapping[bytes, bytes], comm_width: int | None = None) -> Row:
    """The session of these cells, by column. Raise Unreadable where one is none of its column.

    `comm_width` is the number of characters to which COMM was cut, if it was.
    """
    ip_version, local_address, peer_address = _addresses(cells)
    time_of_day, since_start = _times(cells)
    return Row(
        time_of_day,
        since_start,
        _whole(cells, b"PID", 0xFFFF_FFFF),
        comm_of(cells.get(b"COMM", b""), comm_width),
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
    """For a message: shortened, and harmless to a terminal."""
    return ascii(text[:60].decode("utf-8", "replace")) + ("..." if len(text) > 60 else "")


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


def _whole(cells: Mapping[bytes, bytes], column: bytes, most: int) -> int:
    """A whole number; 0 where there is no such column."""
    text = cells.get(column, b"0")
    if text.isdigit() and len(text) <= 20 and (number := int(text)) <= most:
        return number
    raise Unreadable(f"{column.decode()} is no whole number from 0 to {most}: {shown(text)}")


def _size(cells: Mapping[bytes, bytes], column: bytes) -> int:
    """KB in bytes; libbpf's tcplife prints two decimals of them."""
    text = cells.get(column)
    if text is None:
        return UNKNOWN_BYTES
    found = _KILOBYTES.fullmatch(text)
    if not found or int(found[1]) > _MOST_KILOBYTES:
        raise Unreadable(f"{column.decode()} is no number of KB from 0 to {_MOST_KILOBYTES}: {shown(text)}")
    return int(found[1]) * 1024 + min(round(float(b"0." + (found[2] or b"0")) * 1024), 1023)


def _duration(text: bytes) -> int:
    if text == _UNKNOWN:
        return UNKNOWN_TIME
    if not _MILLISECONDS.fullmatch(text):
        raise Unreadable(f"MS is no number of milliseconds: {shown(text)}")
    return round(float(text) * 1e6)


def _times(cells: Mapping[bytes, bytes]) -> tuple[int | None, int | None]:
    """What TIME and TIME(s) say. The latter is the name that libbpf's tcplife gives to a time of day."""
    time_of_day, since_start = cells.get(b"TIME", _UNKNOWN), cells.get(b"TIME(s)", _UNKNOWN)
    if b"TIME" not in cells and _TIME_OF_DAY.fullmatch(since_start):
        time_of_day, since_start = since_start, _UNKNOWN
    return _time_of_day(time_of_day), _since_start(since_start)


def _since_start(text: bytes) -> int | None:
    """TIME(s), which can be negative: each CPU's sessions reach tcplife in order, but not those of all of them."""
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
