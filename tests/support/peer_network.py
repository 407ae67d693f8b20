"""What a peer's network is called, told by the rules of Python's ipaddress instead of ours."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

_SHARED = ip_network("100.64.0.0/10")
"""RFC 6598, which is neither private nor global there."""


def peer_network(address: str) -> str:
    """That of an address that can be an end of a session, where the user has named no network."""
    parsed = ip_address(address)
    if parsed.is_loopback:
        return "loopback"
    if parsed.is_link_local:
        return "link_local"
    if parsed in ip_network("fc00::/7") if parsed.version == 6 else parsed in _SHARED or _is_rfc1918(address):
        return "private"
    return "public"


def _is_rfc1918(address: str) -> bool:
    return any(ip_address(address) in ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
