"""What a user can choose: on the command line, as keyword arguments, or by OTEL_PYTHON_TCPLIFE_*, in this order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar, cast

from otel_tcplife import environment_variables
from otel_tcplife.errors import BadUsage

Value = TypeVar("Value")

_MOST_RING_BYTES = 1 << 30
_MOST_SESSIONS = 1 << 24
_SHORTEST_INTERIM, _LONGEST_INTERIM = 0.01, 1e9
"""Seconds: a quarter of it is slept, and the kernel counts ns in 64 bits."""


class Scope(Enum):
    """Whose sessions are traced."""

    HOST = "host"
    PROCESS = "process"
    """Those of this process and of the processes that it forks."""


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
    awaiting_owner: int = 8192
    """Sessions reset by the peer whose process has not closed the descriptor yet; about 240 bytes each."""


DEFAULT_SIZES = {Scope.HOST: Sizes(), Scope.PROCESS: Sizes(512 << 10, 16384, 1024)}
"""Those of a process are for each one that is traced."""


@dataclass(frozen=True)
class Options:
    """All that can be chosen of what is traced."""

    scope: Scope = Scope.PROCESS
    filters: Filters = field(default_factory=Filters)
    sizes: Sizes = DEFAULT_SIZES[Scope.PROCESS]
    interim: float = 0
    """Seconds after which a session that goes on is reported; 0 for never."""


def read_options(
    given: Mapping[str, object], environ: Mapping[str, str] = os.environ, names: Mapping[str, str] = {}
) -> Options:
    """Each option from what is given, else from its variable, else its default; None is not given.

    `names` are what the user calls the given ones, if not by their names here. Raise BadUsage, naming it, where an
    option does not exist or cannot be what was meant.
    """
    unknown = sorted(given.keys() - {*OPTIONS})
    if unknown:
        raise BadUsage(f"there is no option {unknown[0]!r}", f"use one of {', '.join(OPTIONS)}")

    def read(option: str, parse: Callable[[str], Value], default: Value) -> Value:
        text = _text(given.get(option))
        name = names.get(option, option)
        if text is None and option in _VARIABLES:
            name = _VARIABLES[option]
            text = environ.get(name, "").strip() or None
        try:
            return default if text is None else parse(text)
        except BadUsage as error:
            raise BadUsage(f"{name}: {error.problem}", error.remedy) from None

    scope = read("scope", _parse_scope, Scope.PROCESS)
    sizes = DEFAULT_SIZES[scope]
    return Options(
        scope,
        Filters(
            read("pid", parse_pid, None),
            read("local_ports", parse_ports, ()),
            read("remote_ports", parse_ports, ()),
            read("ip_version", _parse_ip_version, None),
        ),
        Sizes(
            read("ring_bytes", _parse_ring_bytes, sizes.ring_bytes),
            read("max_sessions", lambda text: parse_number(text, "a size", 1, _MOST_SESSIONS), sizes.flows),
            sizes.awaiting_owner,
        ),
        read("interim", _parse_interim, 0.0),
    )


_VARIABLES = {
    name.removeprefix("OTEL_PYTHON_TCPLIFE_").lower(): name
    for name in vars(environment_variables)
    if name.startswith("OTEL_PYTHON_TCPLIFE_") and name not in environment_variables.OF_FILES
}

OPTIONS = (*_VARIABLES, "pid")
"""Names of all options; a process id is given only where it is known."""


def parse_ports(text: str) -> tuple[int, ...]:
    """Comma-separated port numbers. Raise BadUsage naming the one that is none."""
    return tuple(dict.fromkeys(parse_number(port, "a port", 1, 65535) for port in text.split(",")))


def parse_pid(text: str) -> int:
    """A process id. Raise BadUsage if it is none."""
    return parse_number(text, "a process id", 1, 1 << 22)


def _text(value: object) -> str | None:
    """What is given as the text that its variable would have."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, (list, tuple, set)):
        values = cast("Iterable[object]", value)
        return ",".join(map(str, values)) or None
    return str(value)


def _parse_scope(text: str) -> Scope:
    try:
        return Scope(text.strip().lower())
    except ValueError:
        raise BadUsage(f"{text!r} is no scope", "use process or host") from None


def _parse_ip_version(text: str) -> int:
    if text.strip() not in ("4", "6"):
        raise BadUsage(f"{text!r} is no version of IP", "give 4 or 6")
    return int(text)


def _parse_ring_bytes(text: str) -> int:
    ring_bytes = parse_number(text, "a size", os.sysconf("SC_PAGE_SIZE"), _MOST_RING_BYTES)
    if ring_bytes & (ring_bytes - 1):
        raise BadUsage(f"{ring_bytes} is no power of two", "give such as 8388608")
    return ring_bytes


def _parse_interim(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if seconds != 0 and not _SHORTEST_INTERIM <= seconds <= _LONGEST_INTERIM:
        raise BadUsage(f"{text!r} is no time", "give a number of seconds, such as 60")
    return seconds


def parse_number(text: str, what: str, least: int, most: int) -> int:
    """A whole number in decimal. Raise BadUsage, which says what it should have been, if it is none in this range."""
    # int() itself would take signs and underscores, and refuse thousands of digits with an error of its own
    digits = text.strip().lstrip("0") or text.strip()[-1:]
    if digits.isascii() and digits.isdigit() and len(digits) <= len(str(most)) and least <= int(digits) <= most:
        return int(digits)
    raise BadUsage(f"{text!r} is not {what}", f"give a number from {least} to {most}")
