"""What ClickHouse and its clients say over HTTP: blocks of the format Native, and frames that these are packed in."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Sequence
from typing import Any

# Only the environment of chDB has these
_lz4: Any = importlib.import_module("lz4.block")
_cityhash: Any = importlib.import_module("clickhouse_cityhash.cityhash")

_LZ4 = 0x82
_HEADER = struct.Struct("<BII")
_CHECKSUM = struct.Struct("<QQ")
_WIDTHS = {"UInt8": 1, "UInt16": 2, "UInt32": 4, "UInt64": 8}

# As a server of this revision or a newer one begins a block: https://clickhouse.com/docs/native-protocol/basics
_BLOCK_INFO = b"\x01\x00" + b"\x02" + struct.pack("<i", -1) + b"\x00"
_NO_CUSTOM_SERIALIZATION = b"\x00"


def native_block(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> bytes:
    """The rows, of columns that have a name and a type each: text, or a whole number without sign."""
    parts = [_BLOCK_INFO, _number(len(columns)), _number(len(rows))]
    for index, (name, kind) in enumerate(columns):
        parts += [_text(name), _text(kind), _NO_CUSTOM_SERIALIZATION]
        parts += [_value(kind, row[index]) for row in rows]
    return b"".join(parts)


def _value(kind: str, value: Any) -> bytes:
    return _text(value) if kind == "String" else int(value).to_bytes(_WIDTHS[kind], "little")


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _number(len(encoded)) + encoded


def _number(value: int) -> bytes:
    """In as many bytes as it needs, seven bits in each."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes([value])


def compressed(content: bytes) -> bytes:
    """In one frame."""
    packed = _lz4.compress(content, store_size=False)
    rest = _HEADER.pack(_LZ4, _HEADER.size + len(packed), len(content)) + packed
    return _checksum(rest) + rest


def decompressed(frames: bytes) -> bytes:
    """Their content; ValueError where one is not whole, as its checksum says."""
    parts: list[bytes] = []
    while frames:
        checksum, rest = frames[: _CHECKSUM.size], frames[_CHECKSUM.size :]
        method, size, raw_size = _HEADER.unpack_from(rest)
        frame, frames = rest[:size], rest[size:]
        if method != _LZ4 or checksum != _checksum(frame):
            raise ValueError("the frame is not whole")
        parts.append(_lz4.decompress(frame[_HEADER.size :], uncompressed_size=raw_size))
    return b"".join(parts)


def _checksum(frame: bytes) -> bytes:
    number = _cityhash.CityHash128(frame)
    return _CHECKSUM.pack(number >> 64, number & (1 << 64) - 1)
