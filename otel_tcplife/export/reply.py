"""What came of sending one request to an OTLP receiver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

_LONGEST = 200


@dataclass(frozen=True)
class Accepted:
    """The receiver has taken the request, but for `rejected` of its records; `message` is its warning or empty."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True)
class Retry:
    """Not taken, and may be sent again: `after` seconds (more than 0) where the receiver asked for a wait."""

    reason: str
    after: float | None = None


@dataclass(frozen=True)
class Refused:
    """Not taken, and must not be sent again."""

    reason: str


Reply: TypeAlias = Accepted | Retry | Refused


def accepted(answer: bytes) -> Accepted:
    """An encoded ExportLogsServiceResponse, of full or partial success (OTLP specification, "Partial Success").

    What cannot be decoded is full success: the status came first, and some receivers answer with JSON or a word.
    """
    try:
        partial = ExportLogsServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return Accepted()
    return Accepted(max(partial.rejected_log_records, 0), one_line(partial.error_message))


def reason(what: str, said: str) -> str:
    """What happened and, where the receiver said something about it, that."""
    return one_line(f"{what}: {said}" if said.strip() else what)


def one_line(text: str) -> str:
    """What a receiver said, fit for one line of a terminal: printable, single-spaced, at most 200 characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
