"""Hypothesis strategies for sessions: every field over all of its values."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from hypothesis import strategies as st

from otel_tcplife.session import SESSION, UNKNOWN_BYTES, CloseReason, Event, OwnerSource, Role, SessionBatch

_NUMBERS = (
    "uid", "rtt_smoothed", "rtt_min", "retransmits", "out_of_order", "netns", "pid", "parent_pid", "vpid",
    "effective_uid", "real_uid",
)  # fmt: skip

_MAPPED = bytes(10) + b"\xff\xff"


def _whole(bits: int) -> st.SearchStrategy[int]:
    """All numbers of so many bits, the ends often."""
    most = (1 << bits) - 1
    return st.one_of(st.sampled_from([0, 1, 127, 128, most - 1, most]), st.integers(0, most))


# What the kernel's clocks can say
_count = st.one_of(st.sampled_from([0, 1, 127, 128, (1 << 63) - 1]), st.integers(0, (1 << 63) - 1))
_bytes = st.one_of(_count, st.sampled_from([1 << 63, UNKNOWN_BYTES]), _whole(64))
_name = st.one_of(st.sampled_from([b"", b"curl", b"caf\xc3\xa9", b"\xff\xfe\x80", b"a\nb,c", b"\x00x"]), st.binary())
_ipv4 = st.ip_addresses(v=4).map(lambda address: _MAPPED + _packed(address))
_ipv6 = st.ip_addresses(v=6).map(lambda address: _packed(address))


def _packed(address: IPv4Address | IPv6Address) -> bytes:
    return address.packed


@st.composite
def _session(draw: st.DrawFn) -> tuple[Any, ...]:
    ip_version = draw(st.sampled_from([4, 6]))
    address = _ipv4 if ip_version == 4 else _ipv6
    values: dict[str, Any] = {
        "closed_at": draw(_count),
        "observed_at": draw(st.integers(1, (1 << 63) - 1)),
        "duration": draw(_whole(64)),
        "handshake": draw(_whole(64)),
        "bytes_sent": draw(_bytes),
        "bytes_received": draw(_bytes),
        "local_address": np.frombuffer(draw(address), np.uint8),
        "peer_address": np.frombuffer(draw(address), np.uint8),
        "error": draw(st.sampled_from([0, 1, 104, 110, 111, 133, 4094, 4095])),
        "ip_version": ip_version,
        "event": draw(st.sampled_from(list(Event))),
        "role": draw(st.sampled_from([0, *Role])),
        "owner_source": draw(st.sampled_from([0, *OwnerSource])),
        "close_reason": draw(st.sampled_from([0, *CloseReason])),
        "cgroup": 0,
        "adopted": draw(st.integers(0, 1)),
        "id": draw(_whole(64)),
        "counted_bytes_sent": draw(_bytes),
        "counted_bytes_received": draw(_bytes),
        "counted_retransmits": draw(_whole(32)),
        "reported": draw(st.integers(0, 1)),
        "doubtful": 0,
        "trace_flags": 0,
        "reserved": np.zeros(6, np.uint8),
        "created_at": draw(_count),
        "comm": draw(_name)[:15],
        "executable": draw(_name)[:63],
    }
    for column in _NUMBERS:
        values[column] = draw(_whole(32))
    values["timeouts"], values["handshake_retransmits"] = draw(_whole(16)), draw(_whole(8))
    if draw(st.booleans()):  # as most have it
        values["uid"] = values["real_uid"] = values["effective_uid"]
    for column in ("local_port", "peer_port"):
        values[column] = draw(_whole(16))
    return tuple(values[name] for name in SESSION.names or ())


def batches(most: int = 6) -> st.SearchStrategy[SessionBatch]:
    """Batches of one session up to so many."""
    return st.lists(_session(), min_size=1, max_size=most).map(lambda rows: np.array(rows, SESSION))
