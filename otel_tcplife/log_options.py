"""The options of log records: which sessions become one, and what it has besides. Rows of the table in options.py.

The metrics are not affected by them.
"""

from __future__ import annotations

from dataclasses import dataclass

from otel_tcplife.option import Option, in_any_scope
from otel_tcplife.parsers import (
    parse_boolean,
    parse_executables,
    parse_names,
    parse_number,
    parse_seconds,
    parse_share,
)
from otel_tcplife.session import LARGEST_INTEGER

LOG_MIN_DURATION = Option(
    "log_min_duration",
    parse_seconds,
    in_any_scope(0.0),
    "seconds that a session without `error.type` lasts at least to become a log record",
)
LOG_MIN_BYTES = Option(
    "log_min_bytes",
    lambda text: parse_number(text, "a number of bytes", 0, LARGEST_INTEGER),
    in_any_scope(0),
    "bytes, sent and received together, that a session without `error.type` has at least to become a log record",
)
LOG_ERRORS_ONLY = Option(
    "log_errors_only",
    parse_boolean,
    in_any_scope(False),
    "`true` for log records of sessions with `error.type` alone",
    default_text="false",
)
LOG_SAMPLE = Option(
    "log_sample",
    parse_share,
    in_any_scope(1.0),
    "share of the sessions without `error.type` that become log records, such as 0.01; both ends of a connection are "
    "kept or left out together",
    default_text="1",
)
PEER_NETWORKS = Option(
    "peer_networks",
    parse_names,
    in_any_scope(()),
    "comma-separated list of values of `tcplife.peer.network`: other sessions become no log records",
    default_text="all",
)
EXECUTABLES = Option(
    "executables",
    parse_executables,
    in_any_scope(()),
    "comma-separated list of values of `process.executable.name`: other sessions become no log records",
    default_text="all",
)
EVENT_NAME_ATTRIBUTE = Option(
    "event_name_attribute",
    parse_boolean,
    in_any_scope(False),
    "`true` for log records with the attribute `otel.event.name`, for backends that do not keep the name of an event",
    default_text="false",
)
COMMUNITY_ID = Option(
    "community_id",
    parse_boolean,
    in_any_scope(False),
    "`true` for log records with the attribute `network.community_id`",
    default_text="false",
)


@dataclass(frozen=True)
class LogOptions:
    """What is chosen of log records; by default there is one for each session, without anything besides."""

    log_min_duration: float = 0.0
    log_min_bytes: int = 0
    log_errors_only: bool = False
    log_sample: float = 1.0
    peer_networks: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()
    event_name_attribute: bool = False
    community_id: bool = False

    def has(self, option: Option[object]) -> bool:
        """Whether the user asks for what is not there by default."""
        return getattr(self, option.name) != getattr(LogOptions, option.name)
