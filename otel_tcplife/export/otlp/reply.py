"""What came of sending one request to an OTLP receiver."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from otel_tcplife.printable import one_line

Hide = Callable[[str], str]
"""Takes what is secret out of what a receiver or a library says."""


@dataclass(frozen=True)
class Success:
    """The receiver has taken the request, but for `rejected` of its records; `message` is its warning or empty."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True)
class Retryable:
    """Not taken, and may be sent again: `after` seconds (more than 0) where the receiver asked for a wait."""

    reason: str
    after: float | None = None


@dataclass(frozen=True)
class TooLarge:
    """Not taken, as it is larger than the receiver takes; parts of it may be sent."""

    reason: str


@dataclass(frozen=True)
class Permanent:
    """Not taken, and must not be sent again."""

    reason: str


Reply: TypeAlias = Success | Retryable | TooLarge | Permanent

# HTTP: Go's http.MaxBytesReader, for which the Collector answers 400, and what proxies write. gRPC: its C core and Go,
# Java, and Rust's tonic.
_TOO_LARGE = re.compile(r"\btoo (large|long|big)\b|\blarger than\b|\bexceeds\b", re.IGNORECASE)


def refused(reason: str) -> TooLarge | Permanent:
    """What a receiver refuses for good, for this reason: it may be the size alone."""
    return TooLarge(reason) if _TOO_LARGE.search(reason) else Permanent(reason)


def accepted(answer: bytes, hide: Hide) -> Success:
    """An encoded response of full or partial success (OTLP specification, "Partial Success"), of logs or metrics.

    Both have the same field numbers. What cannot be decoded is full success: the status came first, and some receivers
    answer with JSON or a word.
    """
    try:
        partial = ExportLogsServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return Success()
    return Success(max(partial.rejected_log_records, 0), one_line(hide(partial.error_message)))


def reason(what: str, said: str, hide: Hide) -> str:
    """What happened and, where the receiver said something about it, that."""
    return one_line(f"{what}: {hide(said)}" if said.strip() else what)
