"""What a user can choose: filled from the command line, OTEL_PYTHON_TCPLIFE_* or keyword arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from otel_tcplife.environment_variables import (
    OTEL_PYTHON_TCPLIFE_INTERIM,
    OTEL_PYTHON_TCPLIFE_MAX_SESSIONS,
    OTEL_PYTHON_TCPLIFE_RING_BYTES,
)
from otel_tcplife.errors import BadUsage

_MOST_RING_BYTES = 1 << 30
_MOST_SESSIONS = 1 << 24
_SHORTEST_INTERIM, _LONGEST_INTERIM = 0.01, 1e9
"""Seconds: a quarter of it is slept, and the kernel counts ns in 64 bits."""


@dataclass(frozen=True)
class Filters:
    """Which sessions to report; each field that is left out selects all."""

    pid: int | None = None
    local_ports: tuple[int, ...] = ()
    peer_ports: tuple[int, ...] = ()
    ip_version: int | None = None


@dataclass(frozen=True)
class Sizes:
    """Bounds of what the kernel keeps."""

    ring_bytes: int = 8 << 20
    """A power of two; about 200 bytes for each session that waits to be read."""
    flows: int = 65536
    """Sessions open at the same time; about 170 bytes of kernel memory each, taken at the start."""
    unclaimed: int = 8192
    """Sessions reset by the peer whose process has not closed the descriptor yet; about 240 bytes each."""


def read_sizes(environ: Mapping[str, str] = os.environ) -> Sizes:
    """The sizes of the environment. Raise BadUsage, naming the variable, where one is no such size."""
    page = os.sysconf("SC_PAGE_SIZE")
    ring_bytes = _number(environ, OTEL_PYTHON_TCPLIFE_RING_BYTES, Sizes.ring_bytes, page, _MOST_RING_BYTES)
    if ring_bytes & (ring_bytes - 1):
        raise BadUsage(f"{OTEL_PYTHON_TCPLIFE_RING_BYTES}={ring_bytes} is no power of two", "give such as 8388608")
    return Sizes(ring_bytes, _number(environ, OTEL_PYTHON_TCPLIFE_MAX_SESSIONS, Sizes.flows, 1, _MOST_SESSIONS))


def read_interim(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds after which a session that goes on is reported, 0 for never. Raise BadUsage where it is no time."""
    value = environ.get(OTEL_PYTHON_TCPLIFE_INTERIM, "").strip() or "0"
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1
    if seconds != 0 and not _SHORTEST_INTERIM <= seconds <= _LONGEST_INTERIM:
        raise BadUsage(f"{OTEL_PYTHON_TCPLIFE_INTERIM}={value!r} is no time", "give a number of seconds, such as 60")
    return seconds


def parse_ports(text: str) -> tuple[int, ...]:
    """Comma-separated port numbers. Raise BadUsage naming the one that is none."""
    return tuple(dict.fromkeys(_parse(port, "a port", 1, 65535) for port in text.split(",")))


def parse_pid(text: str) -> int:
    """A process id. Raise BadUsage if it is none."""
    return _parse(text, "a process id", 1, (1 << 22))


def _number(environ: Mapping[str, str], variable: str, default: int, least: int, most: int) -> int:
    value = environ.get(variable, "").strip()
    try:
        return _parse(value, "a size", least, most) if value else default
    except BadUsage as error:
        raise BadUsage(f"{variable}: {error.problem}", error.remedy) from None


def _parse(text: str, what: str, least: int, most: int) -> int:
    # int() itself would take signs and underscores, and refuse thousands of digits with an error of its own
    digits = text.strip().lstrip("0")
    if digits.isascii() and digits.isdigit() and len(digits) <= len(str(most)) and least <= int(digits) <= most:
        return int(digits)
    raise BadUsage(f"{text!r} is not {what}", f"give a number from {least} to {most}")
