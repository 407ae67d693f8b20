"""The telemetry contract: every event, attribute and metric, its type, unit and meaning, and where its value is from.

The log encoder, the metric aggregator, the provider route and the tables of README.md are all made from it. Names
follow the OpenTelemetry semantic conventions where one exists; ours start with `tcplife.`. Durations are seconds,
sizes bytes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Literal

import numpy as np
import numpy.typing as npt

from otel_tcplife.columns import Column, DictionaryColumn, Flags, NumericColumn, constant, encode, lookup
from otel_tcplife.identity import container_of
from otel_tcplife.printable import printable
from otel_tcplife.session import (
    LARGEST_INTEGER,
    UNKNOWN,
    UNKNOWN_TIME,
    CloseReason,
    Event,
    OwnerSource,
    Role,
    SessionBatch,
)

SCOPE = "otel_tcplife"
"""Name of the instrumentation scope of everything exported."""

EVENT_NAMES = {
    Event.SESSION_CLOSED: "tcplife.session.closed",
    Event.CONNECT_FAILED: "tcplife.connect.failed",
    Event.SESSION_PROGRESS: "tcplife.session.progress",
}

INFO, WARN = (9, "INFO"), (13, "WARN")
"""Severity number and text of the logs data model."""

OTHER_ERROR = "_OTHER"
"""Value of error.type where there was a failure of no known kind (semantic conventions, error.type)."""

_IP_TEXTS = ("", "", "", "ipv4", "", "ipv6")
_ROLE_TEXTS = tuple(role.name.lower() for role in Role)
_OWNER_SOURCE_TEXTS = tuple(source.name.lower() for source in OwnerSource)
_CLOSE_REASON_TEXTS = tuple(reason.name.lower() for reason in CloseReason)


class SessionColumns:
    """What there is to say of the sessions of one batch, as columns; each is computed once, when it is asked for."""

    def __init__(self, batch: SessionBatch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def sessions(self) -> Flags:
        """Which records are sessions, as opposed to connects that failed."""
        return self.batch["event"] != Event.CONNECT_FAILED

    @cached_property
    def everywhere(self) -> Flags:
        """All of them."""
        return np.ones(len(self), np.bool_)

    @cached_property
    def owned(self) -> Flags:
        """Which have a known owner."""
        return self.batch["pid"] != 0

    @cached_property
    def network_type(self) -> DictionaryColumn:
        """`ipv4` or `ipv6`."""
        return lookup(self.batch["ip_version"], _IP_TEXTS)

    @cached_property
    def role(self) -> DictionaryColumn:
        """`client` or `server`."""
        return lookup(self.batch["role"], _ROLE_TEXTS)

    @cached_property
    def local_address(self) -> DictionaryColumn:
        """Address of this end."""
        return _addresses(self.batch["local_address"])

    @cached_property
    def peer_address(self) -> DictionaryColumn:
        """Address of the other end."""
        return _addresses(self.batch["peer_address"])

    @cached_property
    def comm(self) -> DictionaryColumn:
        """Name of the owner's thread group leader."""
        return encode(self.batch["comm"], _name)

    @cached_property
    def executable(self) -> DictionaryColumn:
        """Base name of the owner's executable."""
        return encode(self.batch["executable"], _name)

    @cached_property
    def error_number(self) -> npt.NDArray[np.int16]:
        """The errno that the socket ended with; 0 for none, -1 for a connect that failed without one."""
        numbers = self.batch["error"].astype(np.int16)
        numbers[(numbers == 0) & ~self.sessions] = -1
        return numbers

    @cached_property
    def error(self) -> DictionaryColumn:
        """Name of that errno, OTHER_ERROR where it has none."""
        return encode(self.error_number, _error_name)

    @cached_property
    def server_port(self) -> NumericColumn:
        """Port of the server's side; unknown where the sides are, or where the port is an ephemeral one."""
        role = self.batch["role"]
        port = np.where(role == Role.SERVER, self.batch["local_port"], self.batch["peer_port"])
        low, high = ephemeral_ports()
        return NumericColumn(port.astype(np.uint64), (role != 0) & ((port < low) | (port > high)))

    def number(self, column: str, present: Flags | None = None) -> NumericColumn:
        """An integer column as it is; known everywhere unless said otherwise, but for what OTLP cannot say."""
        values = self.batch[column].astype(np.uint64)
        known = self.everywhere if present is None else present
        return NumericColumn(values, known if self.batch[column].itemsize < 8 else known & (values <= LARGEST_INTEGER))

    def seconds(self, column: str) -> NumericColumn:
        """A column of ns as seconds."""
        values = self.batch[column]
        return NumericColumn(values / 1e9, values != UNKNOWN_TIME)

    def round_trip(self, column: str) -> NumericColumn:
        """A column of us as seconds."""
        values = self.batch[column]
        return NumericColumn(values / 1e6, values != UNKNOWN)


Kind = Literal["string", "int", "double", "boolean"]


@dataclass(frozen=True)
class Attribute:
    """One attribute of a record: absent where its column does not know it."""

    name: str
    kind: Kind
    brief: str
    column: Callable[[SessionColumns], Column]

    def values(self, columns: SessionColumns) -> list[str | int | float | bool | None]:
        """One Python value for each record, None where it is absent."""
        values = self.column(columns).to_list()
        return [None if value is None else bool(value) for value in values] if self.kind == "boolean" else [*values]


ATTRIBUTES = (
    Attribute("network.transport", "string", "`tcp`", lambda columns: constant("tcp", columns.everywhere)),
    Attribute(
        "network.type",
        "string",
        "`ipv4` or `ipv6`; an IPv4-mapped IPv6 address is `ipv4`",
        lambda columns: columns.network_type,
    ),
    Attribute("network.local.address", "string", "address of this end", lambda columns: columns.local_address),
    Attribute(
        "network.local.port",
        "int",
        "port of this end, unless no port was left for it",
        lambda columns: columns.number("local_port", columns.batch["local_port"] != 0),
    ),
    Attribute("network.peer.address", "string", "address of the other end", lambda columns: columns.peer_address),
    Attribute("network.peer.port", "int", "port of the other end", lambda columns: columns.number("peer_port")),
    Attribute(
        "tcplife.role", "string", "`client` (it connected) or `server` (it accepted)", lambda columns: columns.role
    ),
    Attribute(
        "process.pid",
        "int",
        "the owning process (thread group), tcplife's PID",
        lambda columns: columns.number("pid", columns.owned),
    ),
    Attribute("tcplife.comm", "string", "its name in the kernel, tcplife's COMM", lambda columns: columns.comm),
    Attribute(
        "process.executable.name",
        "string",
        "base name of its executable, up to 63 bytes",
        lambda columns: columns.executable,
    ),
    Attribute(
        "process.user.id",
        "int",
        "user id of the socket",
        lambda columns: columns.number("uid", columns.batch["uid"] != UNKNOWN),
    ),
    Attribute(
        "tcplife.owner.source",
        "string",
        "how the owner is known: `connect` (it connected), `close` (it closed the socket), `adopted` (it alone had the "
        "socket open when tracing began)",
        lambda columns: lookup(columns.batch["owner_source"], _OWNER_SOURCE_TEXTS),
    ),
    Attribute(
        "container.id",
        "string",
        "the container that the socket's cgroup (v2) is of",
        lambda columns: encode(columns.batch["cgroup"], container_of),
    ),
    Attribute(
        "tcplife.netns",
        "int",
        "inode of the network namespace, where it is not the agent's own",
        lambda columns: columns.number("netns", ~np.isin(columns.batch["netns"], (0, own_netns()))),
    ),
    Attribute(
        "tcplife.start_observed",
        "boolean",
        "`false` for a session that was open before tracing began, which then has no duration",
        lambda columns: NumericColumn(np.zeros(len(columns), np.uint64), columns.batch["adopted"] != 0),
    ),
    Attribute(
        "tcplife.session.duration",
        "double",
        "seconds from ESTABLISHED to CLOSE, or to the interim report; TIME_WAIT is not part of it",
        lambda columns: columns.seconds("duration"),
    ),
    Attribute(
        "tcplife.handshake.duration",
        "double",
        "seconds from SYN_SENT (client) or the SYN-ACK (server) to ESTABLISHED, or to the failure of the connect",
        lambda columns: columns.seconds("handshake"),
    ),
    Attribute(
        "tcplife.bytes.sent",
        "int",
        "payload bytes that the peer acknowledged; SYN and FIN are not counted",
        lambda columns: columns.number("bytes_sent", columns.sessions),
    ),
    Attribute(
        "tcplife.bytes.received",
        "int",
        "payload bytes received in order; the FIN is not counted",
        lambda columns: columns.number("bytes_received", columns.sessions),
    ),
    Attribute(
        "tcplife.retransmits",
        "int",
        "segments retransmitted, where there were any",
        lambda columns: columns.number("retransmits", columns.batch["retransmits"] != 0),
    ),
    Attribute(
        "tcplife.rtt.smoothed",
        "double",
        "seconds, the kernel's smoothed round trip time at close",
        lambda columns: columns.round_trip("rtt_smoothed"),
    ),
    Attribute(
        "tcplife.rtt.min",
        "double",
        "seconds, the kernel's windowed minimum of the round trip time at close",
        lambda columns: columns.round_trip("rtt_min"),
    ),
    Attribute(
        "tcplife.close.reason",
        "string",
        "`local_close` or `peer_close` (who sent FIN first), `local_reset` (also of a close that did not come to its "
        "end), `peer_reset`, `timeout`, `other`",
        lambda columns: lookup(columns.batch["close_reason"], _CLOSE_REASON_TEXTS),
    ),
    Attribute(
        "error.type",
        "string",
        "name of the errno that the socket ended with; `_OTHER` for a connect given up without one, or whose end was "
        "missed (see `infer_missed_states()` in bpf/ending.h)",
        lambda columns: columns.error,
    ),
)


def event_name(columns: SessionColumns) -> DictionaryColumn:
    """Name of the event that each record is."""
    return lookup(columns.batch["event"], list(EVENT_NAMES.values()))


def body(columns: SessionColumns) -> list[Column]:
    """The readable line of each record, as the columns that follow one another in it; what is absent is left out."""
    everywhere, sessions, owned = columns.everywhere, columns.sessions, columns.owned
    server = columns.batch["role"] == Role.SERVER
    elapsed = np.where(sessions, columns.batch["duration"], columns.batch["handshake"])
    timed = elapsed != UNKNOWN_TIME
    microseconds = (elapsed + np.uint64(500)) // np.uint64(1000)
    # A name without a pid must not run into the address either
    named = np.where(owned, 1, np.where(columns.comm.present, 2, 0))
    return [
        columns.comm,
        constant("[", owned),
        columns.number("pid", owned),
        lookup(named, ["] ", " "]),
        _hosts(columns.local_address),
        constant(":", everywhere),
        columns.number("local_port"),
        DictionaryColumn(server.astype(np.intp), [" -> ", " <- "]),
        _hosts(columns.peer_address),
        constant(":", everywhere),
        columns.number("peer_port"),
        lookup(columns.batch["event"], [" closed", " connect failed", " still open"]),
        constant(" with ", columns.error.present),
        columns.error,
        constant(" after ", timed),
        NumericColumn(microseconds // np.uint64(1000), timed),
        constant(".", timed),
        NumericColumn(microseconds % np.uint64(1000), timed, digits=3),
        constant(" ms", timed),
        *_payload(columns),
    ]


def _payload(columns: SessionColumns) -> list[Column]:
    """The bytes of each session, as far as they are known: `, 83 bytes sent, 35352 bytes received`."""
    sent = columns.number("bytes_sent", columns.sessions)
    received = columns.number("bytes_received", columns.sessions)
    known = sent.present + 2 * received.present
    return [
        lookup(known, [", ", ", ", ", "]),
        sent,
        lookup(known, [" bytes sent", "", " bytes sent, "]),
        received,
        constant(" bytes received", received.present),
    ]


@dataclass(frozen=True)
class Measurement:
    """Values that a batch adds to a histogram, under these attributes besides METRIC_ATTRIBUTES."""

    values: Callable[[SessionColumns], NumericColumn]
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class HistogramMetric:
    """A histogram, and what each session adds to it."""

    name: str
    unit: str
    brief: str
    bounds: tuple[float, ...]
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class CounterMetric:
    """A sum, kept by the agent and observed by the exporter."""

    name: str
    unit: str
    brief: str
    monotonic: bool = True


DURATION_BOUNDS = (
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
)  # fmt: skip
SIZE_BOUNDS = (0.0, *(float(4**power) for power in range(3, 17)))

HISTOGRAMS = (
    HistogramMetric(
        "tcplife.session.duration",
        "s",
        "Time from ESTABLISHED to CLOSE.",
        DURATION_BOUNDS,
        (Measurement(lambda columns: columns.seconds("duration")),),
    ),
    HistogramMetric(
        "tcplife.session.io",
        "By",
        "Payload bytes of a session.",
        SIZE_BOUNDS,
        (
            Measurement(
                lambda columns: columns.number("bytes_sent", columns.sessions), {"network.io.direction": "transmit"}
            ),
            Measurement(
                lambda columns: columns.number("bytes_received", columns.sessions), {"network.io.direction": "receive"}
            ),
        ),
    ),
    HistogramMetric(
        "tcplife.handshake.duration",
        "s",
        "Time to ESTABLISHED, or to the failure of the connect.",
        DURATION_BOUNDS,
        (Measurement(lambda columns: columns.seconds("handshake")),),
    ),
    HistogramMetric(
        "tcplife.session.rtt",
        "s",
        "Smoothed round trip time at close.",
        DURATION_BOUNDS,
        (Measurement(lambda columns: columns.round_trip("rtt_smoothed")),),
    ),
)

ACTIVE = CounterMetric("tcplife.session.active", "{session}", "Sessions now open and followed.", monotonic=False)
PROBE_SESSIONS = CounterMetric("tcplife.probe.sessions", "{session}", "Sessions and connects that ended, by outcome.")
EXPORT_RECORDS = CounterMetric("tcplife.export.records", "{record}", "Log records, by what became of them.")
COUNTERS = (ACTIVE, PROBE_SESSIONS, EXPORT_RECORDS)
OUTCOME = "tcplife.outcome"
EXPORTER = "tcplife.exporter"
"""Which of the ways out the records of EXPORT_RECORDS took."""

SERVER_PORT = Attribute(
    "server.port",
    "int",
    "port of the server's side of the session, where it is not an ephemeral one",
    lambda columns: columns.server_port,
)

_SHARED = ("network.type", "tcplife.role", "process.executable.name", "error.type")
METRIC_ATTRIBUTES = (*(attribute for attribute in ATTRIBUTES if attribute.name in _SHARED), SERVER_PORT)
"""Attributes of every histogram: few and bounded."""

CARDINALITY_LIMIT = 2000
"""Attribute sets of a metric, the one that takes what is over included (metrics SDK specification)."""

OVERFLOW: dict[str, str | bool | int | float] = {"otel.metric.overflow": True}


@lru_cache(maxsize=1)
def ephemeral_ports() -> tuple[int, int]:
    """First and last port that the kernel chooses for a socket that asked for none."""
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return 32768, 60999  # the kernel's default
    return int(low), int(high)


@lru_cache(maxsize=1)
def own_netns() -> int:
    """Inode of this process's network namespace."""
    return os.stat("/proc/self/ns/net").st_ino


def _addresses(column: npt.NDArray[np.uint8]) -> DictionaryColumn:
    return encode(np.ascontiguousarray(column).view("V16")[:, 0], _address)


_MAPPED = bytes(10) + b"\xff\xff"


@lru_cache(maxsize=4096)
def _address(packed: bytes) -> str:
    if packed.startswith(_MAPPED):
        return inet_ntop(AF_INET, packed[12:])
    return inet_ntop(AF_INET6, packed)


def _hosts(addresses: DictionaryColumn) -> DictionaryColumn:
    """The same with IPv6 addresses in brackets, as in a URL."""
    if ":" not in "".join(addresses.texts):
        return addresses
    return DictionaryColumn(
        addresses.codes, [f"[{address}]" if ":" in address else address for address in addresses.texts]
    )


def _name(raw: bytes) -> str | None:
    """A name that a process gave itself, which can be any bytes: the same text in bodies, attributes and the table.

    Where all of it is printable UTF-8, the text is exactly these bytes; what is not is U+FFFD (see printable.py).
    """
    return printable(raw.decode("utf-8", "replace")) if raw else None


def _error_name(number: int) -> str | None:
    if number == 0:
        return None
    return errno.errorcode.get(number, OTHER_ERROR)
