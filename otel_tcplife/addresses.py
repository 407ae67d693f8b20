"""IP addresses of rows as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from socket import AF_INET6, inet_ntop

import numpy as np
import numpy.typing as npt

from otel_tcplife.columns import Ascii, DictionaryColumn, elements_at_each_byte
from otel_tcplife.factorize import factorize

MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4-mapped IPv6 address begins with (RFC 4291, section 2.5.5.2)."""

_MAPPED = np.frombuffer(MAPPED, np.uint8)
_OCTETS = np.array([b"%d." % octet for octet in range(256)], "S4").view("V4")
_OCTET_LENGTHS = np.array([len(b"%d." % octet) for octet in range(256)])
_ROOM = 16
"""Bytes of the longest IPv4 address with a dot at its end."""


def addresses(column: npt.NDArray[np.uint8]) -> DictionaryColumn:
    """A column of IPv6 addresses, of which a mapped one is the IPv4 address that it is."""
    packed = np.ascontiguousarray(column)
    first, codes = factorize(packed.view("V16")[:, 0])
    return DictionaryColumn(codes, _texts(packed[first]))


def hosts(addresses: DictionaryColumn) -> DictionaryColumn:
    """The same with IPv6 addresses in brackets, as in a URL."""
    if isinstance(addresses.given, np.ndarray):
        return addresses
    return DictionaryColumn(
        addresses.codes, [f"[{address}]" if ":" in address else address for address in addresses.texts]
    )


def _texts(packed: npt.NDArray[np.uint8]) -> Sequence[str] | Ascii:
    """The text of each row of 16 bytes, an array where all are IPv4."""
    mapped = (packed[:, : len(MAPPED)] == _MAPPED).all(axis=1)
    texts = _ipv4_texts(packed[mapped, len(MAPPED) :])
    if mapped.all():
        return texts
    others = (text.decode() for text in texts.tolist())
    rows = zip(mapped.tolist(), packed.view("V16")[:, 0].tolist())
    return [next(others) if is_mapped else _ipv6_text(row) for is_mapped, row in rows]


def _ipv4_texts(packed: npt.NDArray[np.uint8]) -> Ascii:
    """The text of each row of 4 bytes, all at once: a server on the Internet has as many peers as sessions."""
    if not len(packed):
        return np.zeros(0, np.bytes_)
    texts = np.zeros(len(packed) * _ROOM, np.uint8)
    ends = np.arange(0, len(texts), _ROOM)
    elements = elements_at_each_byte(texts, _OCTETS.itemsize)
    for number in range(4):
        octet = packed[:, number]
        elements[ends] = _OCTETS.take(octet)
        ends += _OCTET_LENGTHS.take(octet)
    texts[ends - 1] = 0  # the last dot
    return texts.view(f"S{_ROOM}")


@lru_cache(maxsize=4096)
def _ipv6_text(packed: bytes) -> str:
    return inet_ntop(AF_INET6, packed)
