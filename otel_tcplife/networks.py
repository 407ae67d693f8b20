"""The network that an address is in: one that the user has named, or what kind of network it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

import numpy as np
import numpy.typing as npt

from otel_tcplife.errors import BadUsage

Network = IPv4Network | IPv6Network
Named = tuple[Network, str]

_KINDS: dict[str, tuple[str, ...]] = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link_local": ("169.254.0.0/16", "fe80::/10"),
    # RFC 1918, RFC 6598, RFC 4193
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    "public": ("0.0.0.0/0", "::/0"),
}
_NOWHERE = ("0.0.0.0/32", "::/128", "224.0.0.0/4", "255.255.255.255/32", "ff00::/8")
"""No end of a session: what is unspecified, multicast or broadcast is in no network."""

_LONGEST_NAME = 63
_MAPPED = 0xFFFF << 32
"""The first IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2)."""


class Networks:
    """Networks by their addresses; of those that an address is in, the one with the longest prefix counts."""

    def __init__(self, named: Sequence[Named] = ()) -> None:
        """Take those that the user has named."""
        kinds = [(ip_network(text), kind) for kind, texts in _KINDS.items() for text in texts]
        nowhere = [(ip_network(text), "") for text in _NOWHERE]
        self.names = list(dict.fromkeys([*_KINDS, *(name for _, name in named)]))
        """All that there can be."""
        codes = {name: code for code, name in enumerate(self.names)}
        prefixes = {_first_and_length(network): codes.get(name, -1) for network, name in (*kinds, *nowhere, *named)}
        firsts = _first_addresses(prefixes)
        self._codes = np.array([code for _, code in firsts], np.int16)
        self._firsts = np.array([first.to_bytes(16, "big") for first, _ in firsts], "S16")
        mapped = [at for at, (first, _) in enumerate(firsts) if first >> 32 == _MAPPED >> 32]
        self._firsts4 = np.array([firsts[at][0] - _MAPPED for at in mapped], np.uint32)
        self._codes4 = self._codes[mapped]

    def codes(self, addresses: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
        """For each IPv6 address, a mapped one being an IPv4 address, the index of its network in `names`; -1 for none.

        `addresses` has 16 columns.
        """
        packed = np.ascontiguousarray(addresses)
        if (packed.view(">u8")[:, 0] == 0).all() and (packed.view(">u4")[:, 2] == 0xFFFF).all():
            return self._codes4[np.searchsorted(self._firsts4, packed.view(">u4")[:, 3].astype(np.uint32), "right") - 1]
        return self._codes[np.searchsorted(self._firsts, packed.view("S16")[:, 0], "right") - 1]

    def name(self, code: int) -> str | None:
        """What a code stands for."""
        return self.names[code] if code >= 0 else None


def _first_and_length(network: Network) -> tuple[int, int]:
    """The first address of a network, as an IPv6 one, and how long its prefix is then."""
    if isinstance(network, IPv4Network):
        return _MAPPED + int(network.network_address), 96 + network.prefixlen
    return int(network.network_address), network.prefixlen


def _first_addresses(prefixes: Mapping[tuple[int, int], int]) -> list[tuple[int, int]]:
    """Where the network of an address is another one than that of the address before, and which it is, in order."""
    firsts: dict[int, int] = {0: -1}
    within: list[tuple[int, int]] = []  # the last address and the code of the networks around, the inmost at the end

    def leave(before: int) -> None:
        while within and within[-1][0] < before:
            last, _ = within.pop()
            firsts[last + 1] = within[-1][1] if within else -1

    for first, length in sorted(prefixes):
        leave(first)
        code = firsts[first] = prefixes[first, length]
        within.append((first + (1 << (128 - length)) - 1, code))
    leave(1 << 128)
    firsts.pop(1 << 128, None)
    return sorted(firsts.items())


def parse_networks(text: str) -> tuple[Named, ...]:
    """Comma-separated entries such as 10.1.0.0/16=prod-db. Raise BadUsage naming the one that is none."""
    return tuple(_parse_entry(entry.strip()) for entry in text.split(",") if entry.strip())


def _parse_entry(entry: str) -> Named:
    prefix, equals, name = (part.strip() for part in entry.partition("="))
    if not equals or not name or not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
        remedy = f"write it such as 10.1.0.0/16=prod-db, with a name of at most {_LONGEST_NAME} bytes"
        raise BadUsage(f"{entry!r} is not a network and its name", remedy)
    try:
        return ip_network(prefix), name
    except ValueError as error:
        raise BadUsage(f"{prefix!r} is not a network: {error}", "write it such as 10.1.0.0/16=prod-db") from None
