"""Which sessions become log records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.conventions import ATTRIBUTES
from otel_tcplife.host import UNKNOWN_HOST, Host
from otel_tcplife.log_options import LogOptions
from otel_tcplife.networks import Networks, parse_networks
from otel_tcplife.options import read_options
from otel_tcplife.pipeline.selection import selector
from otel_tcplife.session import UNKNOWN_BYTES, UNKNOWN_TIME, Event, SessionBatch, concatenated
from otel_tcplife.session_columns import SessionColumns
from tests.support.batches import batches
from tests.support.sessions import sessions


def _selected(batch: SessionBatch, options: LogOptions, host: Host = UNKNOWN_HOST) -> list[int]:
    """The rows of the batch that are selected, told by their time."""
    batch = concatenated([batch])
    batch["observed_at"] = np.arange(len(batch))
    select = selector(options, host)
    assert select
    selected = select(batch)
    rows: list[int] = selected["observed_at"].tolist()
    assert selected.tobytes() == batch[rows].tobytes()
    return rows


def _filled(**columns: Sequence[object]) -> SessionBatch:
    batch = sessions(len(next(iter(columns.values()))))
    for name, values in columns.items():
        batch[name] = values
    return batch


def test_without_a_condition_nothing_is_asked() -> None:
    assert selector(LogOptions(), UNKNOWN_HOST) is None
    assert selector(LogOptions(event_name_attribute=True, community_id=True), UNKNOWN_HOST) is None


def test_the_duration_and_what_is_not_known_of_it() -> None:
    batch = _filled(
        duration=[0, 1_499_999_999, 1_500_000_000, 10**18, UNKNOWN_TIME, 0, UNKNOWN_TIME],
        event=[Event.SESSION_CLOSED] * 6 + [Event.CONNECT_FAILED],
        error=[0] * 5 + [104, 111],
    )
    assert _selected(batch, LogOptions(log_min_duration=1.5)) == [2, 3, 4, 5, 6]


def test_the_bytes_of_both_directions_and_what_is_not_known_of_them() -> None:
    largest = (1 << 63) - 1
    batch = _filled(
        bytes_sent=[0, 600, 600, 0, largest, UNKNOWN_BYTES, 0, 0],
        bytes_received=[0, 399, 400, 1000, largest, 0, UNKNOWN_BYTES, 0],
        error=[0] * 7 + [32],
    )
    assert _selected(batch, LogOptions(log_min_bytes=1000)) == [2, 3, 4, 5, 6, 7]


def test_errors_alone_whatever_their_size() -> None:
    batch = _filled(
        error=[0, 104, 0, 4095, 0],
        event=[Event.SESSION_CLOSED] * 2 + [Event.CONNECT_FAILED, Event.SESSION_CLOSED, Event.SESSION_PROGRESS],
    )
    options = LogOptions(log_errors_only=True)
    assert _selected(batch, options) == [1, 2, 3]  # a connect that failed has an error even without an errno
    large = replace(options, log_min_duration=3600, log_min_bytes=1 << 40, log_sample=1e-9)
    assert _selected(batch, large) == [1, 2, 3]


_NETWORKS = Networks(parse_networks("10.1.0.0/16=prod-db"))


def _addresses(*texts: str) -> list[object]:
    return [np.frombuffer(bytes(10) + b"\xff\xff" + bytes(map(int, text.split("."))), np.uint8) for text in texts]


def test_networks_by_their_names_for_sessions_with_errors_too() -> None:
    addresses = _addresses("10.1.2.3", "10.2.2.3", "8.8.8.8", "127.0.0.1", "224.0.0.1")
    batch = _filled(peer_address=addresses, error=[0, 0, 104, 0, 104])
    host = Host(networks=_NETWORKS)
    assert _selected(batch, LogOptions(peer_networks=("prod-db",)), host) == [0]
    assert _selected(batch, LogOptions(peer_networks=("public", "loopback")), host) == [2, 3]
    options = LogOptions(peer_networks=("prod-db", "private", "public"), log_errors_only=True)
    assert _selected(batch, options, host) == [2]


def test_executables_by_the_names_that_the_telemetry_gives_them() -> None:
    batch = _filled(executable=[b"nginx", b"", "café".encode(), b"a\nb", b"nginx2"], error=[0, 104, 0, 0, 104])
    assert _selected(batch, LogOptions(executables=("nginx", "café"))) == [0, 2]
    assert _selected(batch, LogOptions(executables=("a�b",))) == [3]


def test_all_conditions_have_to_hold() -> None:
    batch = _filled(
        duration=[2 * 10**9, 2 * 10**9, 0, 2 * 10**9, 0],
        bytes_sent=[10, 0, 10, 10, 0],
        executable=[b"curl", b"curl", b"curl", b"wget", b"curl"],
        error=[0, 0, 0, 0, 110],
    )
    options = LogOptions(log_min_duration=1, log_min_bytes=10, executables=("curl",))
    assert _selected(batch, options) == [0, 4]


def _flows(count: int) -> SessionBatch:
    """Connections of clients to one server, as many clients as have that many ports."""
    batch = sessions(count)
    batch["local_address"][:, 10:] = 0xFF, 0xFF, 10, 0, 0, 0
    batch["local_address"][:, 15] = np.arange(count) // 60000
    batch["peer_address"][:, 10:] = 0xFF, 0xFF, 10, 0, 1, 1
    batch["local_port"] = 1024 + np.arange(count) % 60000
    return batch


# What the hash of these flows makes of each share: within four standard deviations of share * 1,000,000
_KEPT = {0.001: 944, 0.01: 9975, 0.1: 99799, 0.5: 499645, 0.99: 990033}


@pytest.mark.parametrize("share", _KEPT)
def test_the_sample_is_the_share_of_flows_that_was_asked_for(share: float) -> None:
    count = 1_000_000
    kept = len(_selected(_flows(count), LogOptions(log_sample=share)))
    assert abs(kept - count * share) < 4 * (count * share * (1 - share)) ** 0.5
    assert kept == _KEPT[share]


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    """So that hosts with different shares have as many whole connections as can be."""
    flows = _flows(20_000)
    samples = [set(_selected(flows, LogOptions(log_sample=share))) for share in (0.01, 0.1, 0.5)]
    assert samples[0] < samples[1] < samples[2]


@given(batch=batches(), share=st.sampled_from([1e-9, 0.01, 0.5, 0.99]))
def test_both_ends_of_a_connection_are_kept_or_left_out_together(batch: SessionBatch, share: float) -> None:
    """On one host or two; and so are the interim reports, as they are of the same connection."""
    batch["error"], batch["event"] = 0, Event.SESSION_CLOSED
    other, report = concatenated([batch]), concatenated([batch])
    for column in ("address", "port"):
        other[f"local_{column}"], other[f"peer_{column}"] = batch[f"peer_{column}"], batch[f"local_{column}"]
    report["event"] = Event.SESSION_PROGRESS
    options = LogOptions(log_sample=share)
    assert _selected(batch, options) == _selected(other, options) == _selected(report, options)


@given(batch=batches(), share=st.sampled_from([1e-9, 0.01, 0.5]))
def test_errors_are_always_in_the_sample_and_stand_for_themselves(batch: SessionBatch, share: float) -> None:
    options = LogOptions(log_sample=share)
    rows = _selected(batch, options)
    failed = (batch["error"] != 0) | (batch["event"] == Event.CONNECT_FAILED)
    assert {*np.flatnonzero(failed).tolist()} <= {*rows}
    ratios = _ratios(batch, share)
    assert ratios == [None if has_error else share for has_error in failed.tolist()]
    assert _ratios(batch, 1.0) == [None] * len(batch)


def _ratios(batch: SessionBatch, share: float) -> list[object]:
    [attribute] = [each for each in ATTRIBUTES if each.name == "tcplife.sampling.ratio"]
    return [*attribute.values(SessionColumns(batch, sample=share))]


_GIVEN: dict[str, tuple[object, str]] = {
    "log_min_duration": (0.5, "0.5"),
    "log_min_bytes": (5, "5"),
    "log_errors_only": (True, "true"),
    "log_sample": (0.5, "5e-1"),
    "peer_networks": (["private", "public"], "private,public"),
    "executables": (("curl",), "curl"),
}


@pytest.mark.parametrize("name", _GIVEN)
def test_each_option_is_a_condition_as_a_keyword_and_as_a_variable(name: str) -> None:
    value, text = _GIVEN[name]
    by_keyword = read_options({name: value}, {}).logs
    assert by_keyword == read_options({}, {f"OTEL_PYTHON_TCPLIFE_{name.upper()}": text}).logs
    assert selector(by_keyword, UNKNOWN_HOST)


def test_an_empty_batch_stays_one() -> None:
    everything = LogOptions(0.5, 5, log_sample=0.5, peer_networks=("private",), executables=("curl",))
    assert _selected(sessions(0), everything) == []
