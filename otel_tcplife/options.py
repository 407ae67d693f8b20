"""What a user can choose: on the command line, as keyword arguments, or by OTEL_PYTHON_TCPLIFE_*, in this order.

Each option is one row of OPTIONS. From these come the flags of the command, the keyword arguments of start_tracing(),
the variables and README's table of them. A field of Filters or Sizes has the name of its option, and so has the macro
that the C program gets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from otel_tcplife.delivery_options import (
    ALIVE_FILE,
    FILE_BYTES,
    FILE_KEEP,
    MAX_QUEUE_SIZE,
    REQUEST_BYTES,
    SPOOL,
    SPOOL_BYTES,
)
from otel_tcplife.errors import BadUsage
from otel_tcplife.log_options import (
    COMMUNITY_ID,
    EVENT_NAME_ATTRIBUTE,
    EXECUTABLES,
    LOG_ERRORS_ONLY,
    LOG_MIN_BYTES,
    LOG_MIN_DURATION,
    LOG_SAMPLE,
    PEER_NETWORKS,
    LogOptions,
)
from otel_tcplife.networks import Named, Networks, parse_networks
from otel_tcplife.option import Flag, Option, Scope, Value, in_any_scope
from otel_tcplife.parsers import (
    parse_boolean,
    parse_cache,
    parse_interim,
    parse_ip_version,
    parse_names,
    parse_number,
    parse_path,
    parse_pid,
    parse_ports,
    parse_ring_bytes,
)
from otel_tcplife.plugin_options import EXPORT, SCOPE

PID = Option(
    "pid",
    parse_pid,
    in_any_scope(None),
    "trace this PID only",
    flags=(Flag(("-p", "--pid")),),
    has_variable=False,  # it is known only when the process is there
)
LOCAL_PORTS = Option(
    "local_ports",
    parse_ports,
    in_any_scope(()),
    "comma-separated list of local ports to trace, and of ranges such as 8000-8999.",
    default_text="all",
    flags=(Flag(("-L", "--localport")),),
)
REMOTE_PORTS = Option(
    "remote_ports",
    parse_ports,
    in_any_scope(()),
    "comma-separated list of remote ports to trace, and of ranges such as 8000-8999.",
    default_text="all",
    flags=(Flag(("-D", "--remoteport")),),
)
IP_VERSION = Option(
    "ip_version",
    parse_ip_version,
    in_any_scope(None),
    "4 or 6, to trace this family only",
    default_text="both",
    flags=(
        Flag(("-4", "--ipv4"), "4", "trace IPv4 family only"),
        Flag(("-6", "--ipv6"), "6", "trace IPv6 family only"),
    ),
)
LOOPBACK = Option(
    "loopback",
    parse_boolean,
    in_any_scope(True),
    "`false` to leave out the sessions whose peer has a loopback address, in logs and metrics alike",
    default_text="true",
)
INTERIM = Option(
    "interim",
    parse_interim,
    in_any_scope(0.0),
    "seconds after which a session that goes on is reported, as `tcplife.session.progress`, and again each time that "
    "they have passed",
    default_text="off",
)
TRACE_CONTEXT = Option(
    "trace_context",
    parse_boolean,
    in_any_scope(False),
    "of the plugin: `true` for log records that have the trace and the span in which the application connected",
    default_text="false",
)
NETWORKS = Option(
    "networks",
    parse_networks,
    in_any_scope(()),
    "comma-separated list of networks and their names for `tcplife.peer.network`, such as 10.1.0.0/16=prod-db; the "
    "longest prefix counts",
    default_text="none",
)
RING_BYTES = Option(
    "ring_bytes",
    parse_ring_bytes,
    {Scope.HOST: 8 << 20, Scope.PROCESS: 512 << 10},
    "size of the ring buffer, a power of two, with about 280 bytes for each session that waits to be read",
)
MAX_SESSIONS = Option(
    "max_sessions",
    lambda text: parse_number(text, "a size", 1, 1 << 24),
    {Scope.HOST: 65536, Scope.PROCESS: 16384},
    "sessions open at once that are followed, of about 340 bytes of kernel memory each, taken at the start",
)
PIN = Option(
    "pin",
    parse_path,
    in_any_scope(None),
    "of the command: a directory in a bpffs, such as `/sys/fs/bpf/otel-tcplife`, in which the BPF program stays, so "
    "that sessions that end while the command does not run are exported when it runs again",
    default_text="nothing stays in the kernel",
    is_keyword=False,
)
CACHE = Option(
    "cache",
    parse_cache,
    in_any_scope(None),
    "a directory for the compiled BPF program, which the next start then loads without a compiler, or `none`; only you "
    "and root may be able to write to it",
    default_text="that of the service (`CACHE_DIRECTORY`), else `/var/cache/otel-tcplife` for root, else "
    "`~/.cache/otel-tcplife`",
    is_keyword=False,
)
OPTIONS: tuple[Option[object], ...] = (
    SCOPE, EXPORT, TRACE_CONTEXT, PID, LOCAL_PORTS, REMOTE_PORTS, IP_VERSION, LOOPBACK, INTERIM, NETWORKS,
    LOG_MIN_DURATION, LOG_MIN_BYTES, LOG_ERRORS_ONLY, LOG_SAMPLE, PEER_NETWORKS, EXECUTABLES, EVENT_NAME_ATTRIBUTE,
    COMMUNITY_ID, RING_BYTES, MAX_SESSIONS, PIN, CACHE, REQUEST_BYTES, MAX_QUEUE_SIZE, SPOOL, SPOOL_BYTES, FILE_BYTES,
    FILE_KEEP, ALIVE_FILE,
)  # fmt: skip


@dataclass(frozen=True)
class Filters:
    """Which sessions to report; each field that is left out selects all."""

    pid: int | None = None
    local_ports: tuple[range, ...] = ()
    remote_ports: tuple[range, ...] = ()
    ip_version: int | None = None
    loopback: bool = True


@dataclass(frozen=True)
class Sizes:
    """Bounds of what the kernel keeps; by default those of a host."""

    ring_bytes: int = RING_BYTES.default[Scope.HOST]
    max_sessions: int = MAX_SESSIONS.default[Scope.HOST]
    max_awaiting_owner: int = 8192
    """Sessions reset by the peer whose process has not closed the descriptor yet; about 270 bytes each."""


MAX_TRACED_PROCESSES = 4096
"""Of scope `process`: the application and those that it forks, at the same time."""
MAX_LISTENERS = 8192
"""Of scope `process`: ports that these listen on; of more, those that accepted nothing for longest are forgotten."""

DEFAULT_SIZES = {
    Scope.HOST: Sizes(),
    Scope.PROCESS: Sizes(RING_BYTES.default[Scope.PROCESS], MAX_SESSIONS.default[Scope.PROCESS], 1024),
}
"""Those of a process are for each one that is traced."""


@dataclass(frozen=True)
class Options:
    """All that can be chosen of what is traced."""

    scope: Scope = Scope.HOST
    filters: Filters = Filters()
    sizes: Sizes = Sizes()
    interim: float = 0.0
    """Seconds after which a session that goes on is reported; 0 for never."""
    networks: tuple[Named, ...] = ()
    """Those that the user has named."""
    logs: LogOptions = field(default_factory=LogOptions)
    trace_context: bool = False
    """Whether the application says in which span it connects."""


def read_options(
    given: Mapping[str, object], environ: Mapping[str, str] = os.environ, names: Mapping[str, str] = {}
) -> Options:
    """Each option from what is given, else from its variable, else its default; None is not given.

    `names` are what the user calls the given ones, if not by their names here. Raise BadUsage, naming it, where an
    option does not exist or cannot be what was meant.
    """
    known = [option.name for option in OPTIONS if option.is_keyword]
    unknown = sorted(given.keys() - {*known})
    if unknown:
        raise BadUsage(f"there is no option {unknown[0]!r}", f"use one of {', '.join(known)}")

    def read(option: Option[Value], scope: Scope) -> Value:
        return option.read(environ, scope, given.get(option.name), names.get(option.name))

    scope = read(SCOPE, Scope.PROCESS)
    filters = Filters(
        read(PID, scope),
        read(LOCAL_PORTS, scope),
        read(REMOTE_PORTS, scope),
        read(IP_VERSION, scope),
        read(LOOPBACK, scope),
    )
    networks = read(NETWORKS, scope)
    logs = LogOptions(
        read(LOG_MIN_DURATION, scope),
        read(LOG_MIN_BYTES, scope),
        read(LOG_ERRORS_ONLY, scope),
        read(LOG_SAMPLE, scope),
        read(replace(PEER_NETWORKS, parse=partial(_known_networks, named=networks)), scope),
        read(EXECUTABLES, scope),
        read(EVENT_NAME_ATTRIBUTE, scope),
        read(COMMUNITY_ID, scope),
    )
    sizes = Sizes(read(RING_BYTES, scope), read(MAX_SESSIONS, scope), DEFAULT_SIZES[scope].max_awaiting_owner)
    return Options(scope, filters, sizes, read(INTERIM, scope), networks, logs, read(TRACE_CONTEXT, scope))


def _known_networks(text: str, named: Sequence[Named]) -> tuple[str, ...]:
    """Names of networks. One that no network has would leave all sessions out, and be noticed late: raise BadUsage."""
    known = Networks(named).names
    names = parse_names(text)
    for name in names:
        if name not in known:
            raise BadUsage(
                f"there is no network {name!r}", f"use {', '.join(known)}, or name it in {NETWORKS.variable}"
            )
    return names
