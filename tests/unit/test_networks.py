"""The network of a peer is the one with the longest prefix that it is in, named by the user or by its kind."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otel_tcplife.errors import BadUsage
from otel_tcplife.networks import Networks, parse_networks
from tests.support.peer_network import peer_network


def _name(networks: Networks, address: str) -> str | None:
    return networks.name(networks.code_of(address))


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


@given(address=st.ip_addresses())
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
    assert [_name(networks, address) for address in addresses] == names


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


def test_many_networks_are_looked_up_by_their_lengths() -> None:
    """Of which there are few; what was looked up is remembered, and not without a bound."""
    named = [(ip_network(f"10.{number // 256}.{number % 256}.0/24"), f"net-{number}") for number in range(1000)]
    networks = Networks(named)
    for number in range(40_000):
        networks.code_of(f"10.{number // 10240}.{number // 40 % 256}.{number % 40}")
    assert _name(networks, "10.3.231.7") == "net-999"
    assert _name(networks, "10.3.232.7") == "private"
