"""What both ends of a connection have in common, and on every host: the hash that the sample is drawn by, and an ID."""

from __future__ import annotations

import base64
import hashlib
from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.flow_id import community_ids, flow_hashes
from otel_tcplife.session import SessionBatch, concatenated, empty
from tests.support.batches import batches

End = tuple[str, int]

# The TCP rows of baseline/baseline_deflt.json of https://github.com/corelight/community-id-spec
_PUBLISHED = [
    (("128.232.110.120", 34855), ("66.35.250.204", 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    (
        ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943),
        ("2607:f8b0:400c:c03::1a", 25),
        "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
    ),
]


def _mapped(address: str) -> bytes:
    parsed = ip_address(address)
    return parsed.packed if isinstance(parsed, IPv6Address) else bytes(10) + b"\xff\xff" + parsed.packed


def _row(local: End, peer: End) -> SessionBatch:
    batch = empty(1)
    batch["local_address"], batch["local_port"] = np.frombuffer(_mapped(local[0]), np.uint8), local[1]
    batch["peer_address"], batch["peer_port"] = np.frombuffer(_mapped(peer[0]), np.uint8), peer[1]
    return batch


def _other_ends(batch: SessionBatch) -> SessionBatch:
    """The same connections as the peers see them."""
    other = concatenated([batch])
    for column in ("address", "port"):
        other[f"local_{column}"], other[f"peer_{column}"] = batch[f"peer_{column}"], batch[f"local_{column}"]
    return other


def _one_id(local: End, peer: End) -> str | None:
    return community_ids(_row(local, peer)).to_list()[0]


@pytest.mark.parametrize(("first", "second", "expected"), _PUBLISHED)
def test_the_published_ids(first: End, second: End, expected: str) -> None:
    assert _one_id(first, second) == _one_id(second, first) == expected


def test_the_order_of_the_ends_that_the_specification_gives() -> None:
    """By the address, then by the port: 10.0.0.1, 127.0.0.1, 1234, 80."""
    first, second = (ip_address(text).packed for text in ("10.0.0.1", "127.0.0.1"))
    content = bytes(2) + first + second + b"\x06\0" + (1234).to_bytes(2, "big") + (80).to_bytes(2, "big")
    expected = "1:" + base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    assert _one_id(("10.0.0.1", 1234), ("127.0.0.1", 80)) == expected


_address = st.one_of(st.sampled_from(["127.0.0.1", "::1", "10.0.0.1", "10.0.0.2"]), st.ip_addresses().map(str))
_port = st.one_of(st.sampled_from([1, 80, 255, 256, 65535]), st.integers(1, 65535))


@given(first=_address, second=_address, ports=st.tuples(_port, _port))
def test_any_id_is_what_the_specification_says(first: str, second: str, ports: tuple[int, int]) -> None:
    if len(_bare(first)) != len(_bare(second)):  # a mapped address is an IPv4 one
        second = first
    addresses = [_bare(first), _bare(second)]
    ends = sorted(zip(addresses, ports))
    content = b"".join([bytes(2), ends[0][0], ends[1][0], b"\x06\0", *(port.to_bytes(2, "big") for _, port in ends)])
    expected = "1:" + base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    assert _one_id((first, ports[0]), (second, ports[1])) == expected


def _bare(address: str) -> bytes:
    """4 bytes of an IPv4 address, mapped or not, else 16."""
    parsed = ip_address(address)
    mapped = parsed if isinstance(parsed, IPv4Address) else parsed.ipv4_mapped
    return (mapped or parsed).packed


def test_without_a_port_of_its_own_an_end_has_no_id() -> None:
    """It would be another one than that of the connection that it tried to make."""
    assert _one_id(("10.0.0.1", 0), ("10.0.0.2", 80)) is None


@given(batch=batches())
def test_both_ends_have_the_same(batch: SessionBatch) -> None:
    batch["local_port"] |= 1
    batch["peer_port"] |= 1
    other = _other_ends(batch)
    assert flow_hashes(batch).tolist() == flow_hashes(other).tolist()
    assert community_ids(batch).to_list() == community_ids(other).to_list()


@given(batch=batches())
def test_a_session_has_the_same_whatever_it_is_read_with(batch: SessionBatch) -> None:
    apart = [flow_hashes(batch[row : row + 1])[0] for row in range(len(batch))]
    assert flow_hashes(batch).tolist() == apart
    assert community_ids(batch).to_list() == [
        community_ids(batch[row : row + 1]).to_list()[0] for row in range(len(batch))
    ]


_64_BITS = (1 << 64) - 1


def _mixed(value: int) -> int:
    """The output function of SplitMix64."""
    value = value + 0x9E3779B97F4A7C15 & _64_BITS
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _64_BITS
    return value ^ value >> 31


@given(ends=st.tuples(st.tuples(_address, _port), st.tuples(_address, _port)))
def test_the_hash_in_integers_of_python(ends: tuple[End, End]) -> None:
    """No byte order, width or seed of a machine is in it."""
    hashes: list[int] = []
    for address, port in ends:
        packed = _mapped(address)
        high, low = (int.from_bytes(packed[at : at + 8], "big") for at in (0, 8))
        hashes.append(_mixed(_mixed(_mixed(high) ^ low) ^ port))
    assert flow_hashes(_row(*ends)).tolist() == [_mixed(sum(hashes) & _64_BITS)]


def test_the_hash_never_changes() -> None:
    """Hosts of different versions keep the same connections."""
    hashes = [int(flow_hashes(_row(first, second))[0]) for first, second, _ in _PUBLISHED]
    assert hashes == [0x998CB12A76A19B42, 0xF9775DEA0FD02A4E]
