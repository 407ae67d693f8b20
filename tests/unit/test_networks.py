"""The network of a peer is the one with the longest prefix that it is in, named by the user or by its kind."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from socket import AF_INET6, inet_pton
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otel_tcplife.errors import BadUsage
from otel_tcplife.networks import Networks, parse_networks
from tests.support.peer_network import peer_network

_ADDRESSES = st.ip_addresses().filter(lambda address: getattr(address, "ipv4_mapped", None) is None)
"""A mapped address is the IPv4 address that it is."""


def _names(networks: Networks, addresses: list[str]) -> list[str | None]:
    """All at once, and each by itself."""
    packed = [inet_pton(AF_INET6, address if ":" in address else f"::ffff:{address}") for address in addresses]
    rows = np.frombuffer(b"".join(packed), np.uint8).reshape(-1, 16)
    names = [networks.name(code) for code in networks.codes(rows).tolist()]
    assert names == [networks.name(int(networks.codes(rows[at : at + 1])[0])) for at in range(len(rows))]
    return names


def _name(networks: Networks, address: str) -> str | None:
    [name] = _names(networks, [address])
    return name


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("169.254.1.1", "link_local"),
        ("fe80::1", "link_local"),
        ("febf::1", "link_local"),
        ("10.255.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.1", "public"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("100.128.0.1", "public"),
        ("fd00::1", "private"),
        ("8.8.8.8", "public"),
        ("2001:db8::1", "public"),
        ("0.0.0.0", None),
        ("::", None),
        ("224.0.0.1", None),
        ("ff02::1", None),
    ],
)
def test_kinds(address: str, name: str | None) -> None:
    assert _name(Networks(), address) == name


@given(address=_ADDRESSES)
def test_kinds_by_the_rules_of_ipaddress(address: object) -> None:
    text = str(address)
    parsed = ip_address(text)
    assume(not parsed.is_multicast and not parsed.is_unspecified and text != "255.255.255.255")
    assert _name(Networks(), text) == peer_network(text)


def test_the_longest_prefix_counts() -> None:
    named = parse_networks("10.0.0.0/8=all, 10.1.0.0/16=prod-db,10.1.2.3/32=one,::/0=six,0.0.0.0/0=internet")
    networks = Networks(named)
    addresses = ["10.2.0.1", "10.1.9.9", "10.1.2.3", "8.8.8.8", "2001:db8::1", "fe80::1", "192.168.0.1", "::1"]
    names = ["all", "prod-db", "one", "internet", "six", "link_local", "private", "loopback"]
    assert _names(networks, addresses) == names


def test_a_name_of_two_networks_is_one() -> None:
    networks = Networks(parse_networks("10.1.0.0/16=db,192.168.7.0/24=db,10.2.0.0/16=private"))
    assert networks.names.count("db") == 1
    assert {_name(networks, address) for address in ("10.1.0.1", "192.168.7.7")} == {"db"}
    assert _name(networks, "10.2.0.1") == _name(networks, "10.3.0.1") == "private"


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_no_entry(text: str) -> None:
    assert parse_networks(text) == ()


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("10.0.0.0/8", "'10.0.0.0/8' is not a network and its name"),
        ("10.0.0.0/8=", "'10.0.0.0/8=' is not a network and its name"),
        ("=lab", "'' is not a network: "),
        ("10.0.0.0/33=lab", "'10.0.0.0/33' is not a network: "),
        ("10.0.0.1/8=lab", "'10.0.0.1/8' is not a network: 10.0.0.1/8 has host bits set"),
        ("lab=10.0.0.0/8", "'lab' is not a network: "),
        ("10.0.0.0/8=" + "x" * 64, "is not a network and its name"),
        ("10.0.0.0/8=a\x1bb", "is not a network and its name"),
    ],
)
def test_bad_entries_are_named(entry: str, problem: str) -> None:
    with pytest.raises(BadUsage) as raised:
        parse_networks(f"192.168.0.0/16=home,{entry}")
    assert problem in str(raised.value)
    assert "write it such as 10.1.0.0/16=prod-db" in str(raised.value)


@given(
    named=st.lists(st.tuples(_ADDRESSES, st.integers(0, 128), st.sampled_from("abcdef")), max_size=30),
    addresses=st.lists(_ADDRESSES, min_size=1, max_size=30),
)
def test_each_address_is_in_the_network_with_the_longest_prefix(
    named: list[tuple[Any, int, str]], addresses: list[Any]
) -> None:
    given_networks = [
        (ip_network((first, min(length, first.max_prefixlen)), strict=False), name) for first, length, name in named
    ]
    networks, all_of_them = Networks(given_networks), [*addresses, *(first for first, _, _ in named)]
    names = _names(networks, [str(address) for address in all_of_them])
    kinds = _names(Networks(), [str(address) for address in all_of_them])
    for address, name, kind in zip(all_of_them, names, kinds):
        inside = {network: called for network, called in given_networks if address in network}
        longest = max(inside, key=lambda network: network.prefixlen, default=None)
        # One of the kinds may have a longer prefix
        assert name in ((kind, inside[longest]) if longest else (kind,))
