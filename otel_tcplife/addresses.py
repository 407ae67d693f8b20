"""IP addresses of rows as text."""

from __future__ import annotations

from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop

import numpy as np
import numpy.typing as npt

from otel_tcplife.columns import DictionaryColumn, encode


def addresses(column: npt.NDArray[np.uint8]) -> DictionaryColumn:
    """A column of IPv6 addresses, of which a mapped one is the IPv4 address that it is."""
    return encode(np.ascontiguousarray(column).view("V16")[:, 0], _address)


MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4-mapped IPv6 address begins with (RFC 4291, section 2.5.5.2)."""


@lru_cache(maxsize=4096)
def _address(packed: bytes) -> str:
    if packed.startswith(MAPPED):
        return inet_ntop(AF_INET, packed[12:])
    return inet_ntop(AF_INET6, packed)


def hosts(addresses: DictionaryColumn) -> DictionaryColumn:
    """The same with IPv6 addresses in brackets, as in a URL."""
    if ":" not in "".join(addresses.texts):
        return addresses
    return DictionaryColumn(
        addresses.codes, [f"[{address}]" if ":" in address else address for address in addresses.texts]
    )
