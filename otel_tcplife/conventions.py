"""The telemetry contract: every event and attribute, its type and meaning, and where its value is from.

The log encoder, the provider route and the tables of README.md are made from it, and from instruments.py, which has the
metrics. Names follow the OpenTelemetry semantic conventions where one exists; ours start with `tcplife.`. Durations are
seconds, sizes bytes.
"""

from __future__ import annotations

import numpy as np

from otel_tcplife.attribute import Attribute
from otel_tcplife.columns import DictionaryColumn, NumericColumn, constant, encode, lookup
from otel_tcplife.flow_id import community_ids
from otel_tcplife.host import UNKNOWN_HOST, Entity
from otel_tcplife.log_options import COMMUNITY_ID, EVENT_NAME_ATTRIBUTE, LOG_SAMPLE, LogOptions
from otel_tcplife.session import CloseReason, Event, OwnerSource, Role
from otel_tcplife.session_columns import SessionColumns

SCOPE = "otel_tcplife"
"""Name of the instrumentation scope of everything exported."""
SCHEMA_URL = "https://opentelemetry.io/schemas/1.39.0"
"""Of the semantic conventions whose names are used, on the resource and the scope: the first with `otel.event.name`."""

EVENT_NAMES = {
    Event.SESSION_CLOSED: "tcplife.session.closed",
    Event.CONNECT_FAILED: "tcplife.connect.failed",
    Event.SESSION_PROGRESS: "tcplife.session.progress",
}

INFO, WARN = (9, "INFO"), (13, "WARN")
"""Severity number and text of the logs data model."""

_OWNER_SOURCE_TEXTS = tuple(source.name.lower() for source in OwnerSource)
_CLOSE_REASON_TEXTS = tuple(reason.name.lower() for reason in CloseReason)
_ROLE_TEXTS = tuple(role.name.lower() for role in Role)

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
        "tcplife.peer.network",
        "string",
        "network of the other end: `loopback`, `link_local`, `private`, `public`, or the name that the user gave it",
        lambda columns: columns.peer_network,
        members=tuple(UNKNOWN_HOST.networks.names),
    ),
    Attribute(
        "tcplife.role",
        "string",
        "`client` (it connected) or `server` (it accepted)",
        lambda columns: columns.role,
        members=_ROLE_TEXTS,
    ),
    Attribute(
        "process.pid",
        "int",
        "the owning process (thread group), tcplife's PID",
        lambda columns: columns.number("pid", columns.owned),
    ),
    Attribute(
        "tcplife.comm",
        "string",
        "name of the owning process in the kernel, tcplife's COMM",
        lambda columns: columns.comm,
        examples=("nginx",),
    ),
    Attribute(
        "process.executable.name",
        "string",
        "base name of the owning process's executable, up to 63 bytes",
        lambda columns: columns.executable,
    ),
    Attribute(
        "process.creation.time",
        "string",
        "when the owning process was created, in ISO 8601 to the millisecond",
        lambda columns: columns.created,
    ),
    Attribute(
        "process.parent_pid", "int", "the owning process's parent", lambda columns: columns.nonzero("parent_pid")
    ),
    Attribute(
        "process.vpid",
        "int",
        "the owning process's pid in the PID namespace that it runs in, where that is another than `process.pid`",
        lambda columns: columns.number(
            "vpid", (columns.batch["vpid"] != 0) & (columns.batch["vpid"] != columns.batch["pid"])
        ),
    ),
    Attribute(
        "process.user.id",
        "int",
        "the owning process's effective user id when it connected or closed the socket, or when tracing began",
        lambda columns: columns.user,
    ),
    Attribute(
        "process.real_user.id",
        "int",
        "the owning process's real user id, where that is another than `process.user.id`",
        lambda columns: columns.number("real_uid", columns.user.present & columns.unless_user("real_uid").present),
    ),
    Attribute(
        "tcplife.socket.user.id",
        "int",
        "user id of the socket, where that is another than `process.user.id`, or that is not known",
        lambda columns: columns.unless_user("uid"),
    ),
    Attribute(
        "tcplife.owner.source",
        "string",
        "how the owner is known: `connect` (it connected), `close` (it closed the socket), `adopted` (it alone had the "
        "socket open when tracing began)",
        lambda columns: lookup(columns.batch["owner_source"], _OWNER_SOURCE_TEXTS),
        members=_OWNER_SOURCE_TEXTS,
    ),
    Attribute(
        "process.linux.cgroup",
        "string",
        "outside of containers and pods, the socket's cgroup (v2) as /proc/PID/cgroup has it, such as "
        "`0::/system.slice/nginx.service`; the root of all is none",
        lambda columns: encode(columns.batch["cgroup"], columns.host.cgroup_of),
    ),
    Attribute(
        "tcplife.session.id",
        "string",
        "a random number, the same in the interim reports of a session and at its end, where there are such reports",
        lambda columns: columns.session_id,
        examples=("5f0c2b8a91d3e477",),
    ),
    Attribute(
        "tcplife.netns",
        "int",
        "inode of the network namespace, where it is not the tracer's own",
        lambda columns: columns.number("netns", ~np.isin(columns.batch["netns"], (0, columns.host.netns))),
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
        lambda columns: columns.nonzero("retransmits"),
    ),
    Attribute(
        "tcplife.handshake.retransmits",
        "int",
        "those of `tcplife.retransmits` that came before ESTABLISHED, SYNs or SYN-ACKs, where there were any",
        lambda columns: columns.nonzero("handshake_retransmits"),
    ),
    Attribute(
        "tcplife.retransmission_timeouts",
        "int",
        "how often the retransmission timeout (RTO) passed without an answer, where it did; since Linux 6.7",
        lambda columns: columns.nonzero("timeouts"),
    ),
    Attribute(
        "tcplife.segments.out_of_order",
        "int",
        "segments received out of order, where there were any",
        lambda columns: columns.nonzero("out_of_order"),
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
        members=_CLOSE_REASON_TEXTS,
    ),
    Attribute(
        "error.type",
        "string",
        "name of the errno that the socket ended with, or `_OTHER`",
        lambda columns: columns.error,
    ),
    Attribute(
        "tcplife.sampling.ratio",
        "double",
        "share of the sessions without `error.type` that are kept, on each of these: it counts for 1 / share sessions",
        lambda columns: columns.sampling_ratio,
        LOG_SAMPLE,
    ),
    Attribute(
        "otel.event.name",
        "string",
        "name of the event",
        lambda columns: event_name(columns),
        EVENT_NAME_ATTRIBUTE,
    ),
    Attribute(
        "network.community_id",
        "string",
        "the connection's Community ID (version 1, seed 0), the same at both ends",
        lambda columns: community_ids(columns.batch),
        COMMUNITY_ID,
        examples=("1:LQU9qZlK+B5F3KDmev6m5PMibrg=",),
    ),
)


ENTITY_ATTRIBUTES = (
    Attribute(
        "container.id",
        "string",
        "the container that the socket's cgroup (v2) is of",
        lambda columns: columns.of_entity(lambda entity: entity.container_id),
    ),
    Attribute(
        "k8s.pod.uid",
        "string",
        "the pod of Kubernetes that the socket's cgroup (v2) is of",
        lambda columns: columns.of_entity(lambda entity: entity.pod_uid),
    ),
)
"""What identifies the container or pod that a session is of: attributes of the resource, or of the record where the
resource is that of an application.
"""


def entity_attributes(entity: Entity) -> dict[str, str]:
    """Those of ENTITY_ATTRIBUTES that are known of an entity."""
    return {attribute.name: text for attribute, text in zip(ENTITY_ATTRIBUTES, entity) if text}


def attributes_with(options: LogOptions) -> tuple[Attribute, ...]:
    """Those that log records have with these options."""
    return tuple(each for each in ATTRIBUTES if each.option is None or options.has(each.option))


def event_name(columns: SessionColumns) -> DictionaryColumn:
    """Name of the event that each record is."""
    return lookup(columns.batch["event"], list(EVENT_NAMES.values()))
