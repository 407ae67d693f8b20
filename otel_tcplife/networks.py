"""The network that an address is in: one that the user has named, or what kind of network it is."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

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
_MOST_CACHED = 1 << 14


class Networks:
    """Networks by their addresses; of those that an address is in, the one with the longest prefix counts."""

    def __init__(self, named: Sequence[Named] = ()) -> None:
        """Take those that the user has named."""
        kinds = [(ip_network(text), kind) for kind, texts in _KINDS.items() for text in texts]
        nowhere = [(ip_network(text), "") for text in _NOWHERE]
        self.names = list(dict.fromkeys([*_KINDS, *(name for _, name in named)]))
        """All that there can be."""
        codes = {name: code for code, name in enumerate(self.names)}
        self._prefixes: dict[int, dict[int, dict[int, int]]] = {4: {}, 6: {}}
        for network, name in (*kinds, *nowhere, *named):
            of_length = self._prefixes[network.version].setdefault(network.prefixlen, {})
            of_length[int(network.network_address)] = codes.get(name, -1)
        self._lengths = {version: sorted(lengths, reverse=True) for version, lengths in self._prefixes.items()}
        self._cache: dict[str, int] = {}

    def code_of(self, address: str) -> int:
        """The index in `names` of the network that an address is in, -1 where it is in none."""
        code = self._cache.get(address)
        if code is None:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            code = self._cache[address] = self._look_up(address)
        return code

    def name(self, code: int) -> str | None:
        """What code_of() stands for."""
        return self.names[code] if code >= 0 else None

    def _look_up(self, text: str) -> int:
        address = ip_address(text)
        number, bits = int(address), address.max_prefixlen
        for length in self._lengths[address.version]:
            code = self._prefixes[address.version][length].get(number >> (bits - length) << (bits - length))
            if code is not None:
                return code
        return -1


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
