"""What is the same at both ends of a connection, and on every host that sees one of them, whatever traces it there."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import numpy as np
import numpy.typing as npt

from otel_tcplife.addresses import MAPPED
from otel_tcplife.columns import DictionaryColumn, Flags, encode
from otel_tcplife.session import SessionBatch

Hashes = npt.NDArray[np.uint64]

_TUPLE = np.dtype(
    [("first_address", np.uint8, 16), ("second_address", np.uint8, 16), ("ports", ">u2", 2), ("known", ">u4")]
)
"""Both ends of a connection in network byte order, the one with the lower address and port first."""

_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
"""Those of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""


def flow_hashes(batch: SessionBatch) -> Hashes:
    """A number of 64 bits for each connection, all of them equally likely. It must never change, nor be salted."""
    ends = (_hashes_of_ends(batch[f"{end}_address"], batch[f"{end}_port"]) for end in ("local", "peer"))
    return _mixed(sum(ends, np.zeros(len(batch), np.uint64)))


def _hashes_of_ends(addresses: npt.NDArray[np.uint8], ports: npt.NDArray[np.uint16]) -> Hashes:
    words = _words(addresses)
    return _mixed(_mixed(_mixed(words[:, 0]) ^ words[:, 1]) ^ ports)


def _words(addresses: npt.NDArray[np.uint8]) -> Hashes:
    """Two numbers for each address."""
    return np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)


def _mixed(values: Hashes) -> Hashes:
    """Each value as another one, of which all bits depend on all of its bits."""
    values = values + _INCREMENT
    values = (values ^ values >> _SHIFTS[0]) * _MULTIPLIERS[0]
    values = (values ^ values >> _SHIFTS[1]) * _MULTIPLIERS[1]
    return values ^ values >> _SHIFTS[2]


def community_ids(batch: SessionBatch) -> DictionaryColumn:
    """The Community ID of each connection, version 1 with seed 0 (https://github.com/corelight/community-id-spec).

    It is unknown where the port of this end is.
    """
    tuples = np.zeros(len(batch), _TUPLE)
    swapped = _has_lower_peer(batch)
    addresses = [np.ascontiguousarray(batch[f"{end}_address"]) for end in ("local", "peer")]
    ports = [batch[f"{end}_port"] for end in ("local", "peer")]
    tuples["first_address"] = np.where(swapped[:, None], addresses[1], addresses[0])
    tuples["second_address"] = np.where(swapped[:, None], addresses[0], addresses[1])
    tuples["ports"][:, 0] = np.where(swapped, ports[1], ports[0])
    tuples["ports"][:, 1] = np.where(swapped, ports[0], ports[1])
    tuples["known"] = batch["local_port"] != 0
    return encode(tuples.view(f"V{_TUPLE.itemsize}"), _community_id)


def _has_lower_peer(batch: SessionBatch) -> Flags:
    """Of which the peer's address, or with the same address the peer's port, is the lower one."""
    local, peer = _words(batch["local_address"]), _words(batch["peer_address"])
    is_lower = batch["peer_port"] < batch["local_port"]
    for word in (1, 0):
        is_lower = (peer[:, word] < local[:, word]) | (peer[:, word] == local[:, word]) & is_lower
    return is_lower


_SEED, _TCP_AND_PADDING = b"\0\0", b"\x06\0"


def _community_id(packed: bytes) -> str | None:
    first, second, ports, known = packed[:16], packed[16:32], packed[32:36], packed[36:]
    if not any(known):
        return None
    if first.startswith(MAPPED) and second.startswith(MAPPED):
        first, second = first[12:], second[12:]
    digest = hashlib.sha1(_SEED + first + second + _TCP_AND_PADDING + ports, usedforsecurity=False).digest()
    return "1:" + b64encode(digest).decode()
