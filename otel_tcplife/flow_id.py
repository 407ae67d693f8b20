"""What is the same at both ends of a connection, and on every host that sees one of them, whatever traces it there."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import numpy as np
import numpy.typing as npt

from otel_tcplife.addresses import MAPPED
from otel_tcplife.columns import Ascii, DictionaryColumn, Flags
from otel_tcplife.session import SessionBatch

Hashes = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
"""Those of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""


def flow_hashes(batch: SessionBatch) -> Hashes:
    """A number of 64 bits for each connection, all of them equally likely. It must never change, nor be salted."""
    ends = (_hashes_of_ends(batch[f"{end}_address"], batch[f"{end}_port"]) for end in ("local", "peer"))
    return _mixed(sum(ends, np.zeros(len(batch), np.uint64)))


def _hashes_of_ends(addresses: Bytes, ports: npt.NDArray[np.uint16]) -> Hashes:
    words = _words(addresses)
    return _mixed(_mixed(_mixed(words[:, 0]) ^ words[:, 1]) ^ ports)


def _words(addresses: Bytes) -> Hashes:
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
    local, peer = _ends(batch, "local"), _ends(batch, "peer")
    swapped = _has_lower_peer(batch)[:, None]
    first, second = np.where(swapped, peer, local), np.where(swapped, local, peer)
    digests = np.empty(len(batch), "V20")
    is_ipv4 = ((first[:, :12] == _MAPPED) & (second[:, :12] == _MAPPED)).all(axis=1)
    for rows, begin in ((is_ipv4, 12), (~is_ipv4, 0)):
        contents = _contents(first[rows], second[rows], begin)
        sha1 = b"".join([hashlib.sha1(content, usedforsecurity=False).digest() for content in contents])
        digests[rows] = np.frombuffer(sha1, digests.dtype)
    return DictionaryColumn(np.where(batch["local_port"] != 0, np.arange(len(batch)), -1), _in_base64(digests))


def _ends(batch: SessionBatch, end: str) -> Bytes:
    """Address and port of each end in network byte order."""
    ports = batch[f"{end}_port"].astype(">u2").view(np.uint8).reshape(-1, 2)
    return np.concatenate([batch[f"{end}_address"], ports], axis=1)


def _has_lower_peer(batch: SessionBatch) -> Flags:
    """Of which the peer's address, or with the same address the peer's port, is the lower one."""
    local, peer = _words(batch["local_address"]), _words(batch["peer_address"])
    is_lower = batch["peer_port"] < batch["local_port"]
    for word in (1, 0):
        is_lower = (peer[:, word] < local[:, word]) | (peer[:, word] == local[:, word]) & is_lower
    return is_lower


_VERSION = b"1:"
_MAPPED = np.frombuffer(MAPPED, np.uint8)
_SEED, _TCP_AND_PADDING = np.array([0, 0], np.uint8), np.array([6, 0], np.uint8)


def _contents(first: Bytes, second: Bytes, begin: int) -> list[bytes]:
    """What is hashed of each connection, with the addresses from this byte on."""
    seeds, protocols = (np.broadcast_to(each, (len(first), 2)) for each in (_SEED, _TCP_AND_PADDING))
    parts = [seeds, first[:, begin:16], second[:, begin:16], protocols, first[:, 16:], second[:, 16:]]
    contents = np.concatenate(parts, axis=1)
    return contents.view(f"V{contents.shape[1]}")[:, 0].tolist()


def _in_base64(digests: npt.NDArray[np.void]) -> Ascii:
    """Each digest in Base64, behind the version of the specification. All are encoded at once, three bytes by three."""
    in_threes = np.zeros((len(digests), 21), np.uint8)
    in_threes[:, :20].view(digests.dtype)[:, 0] = digests
    ids = np.empty((len(digests), len(_VERSION) + 28), np.uint8)
    ids[:, : len(_VERSION)] = np.frombuffer(_VERSION, np.uint8)
    ids[:, len(_VERSION) :] = np.frombuffer(b64encode(in_threes.tobytes()), np.uint8).reshape(-1, 28)
    ids[:, -1] = ord("=")  # in the place of the byte that was added
    return ids.view(f"S{ids.shape[1]}")[:, 0]
