"""What users write as the value of an option, read: each raises BadUsage, which says what it should have been."""

from __future__ import annotations

import os

from otel_tcplife.errors import BadUsage
from otel_tcplife.session import EXECUTABLE_SIZE

_MOST_RING_BYTES = 1 << 30
_SHORTEST_INTERIM, _LONGEST_INTERIM = 0.01, 1e9
"""Seconds: a quarter of it is slept, and the kernel counts ns in 64 bits."""
_SMALLEST_SHARE = 1e-9
_LONGEST_EXECUTABLE = EXECUTABLE_SIZE - 1
"""Bytes, less the NUL."""


def parse_ports(text: str) -> tuple[range, ...]:
    """Comma-separated port numbers, and ranges of them such as 8000-8999. Raise BadUsage naming what is none."""
    return tuple(dict.fromkeys(_parse_range(ports) for ports in text.split(",")))


def _parse_range(text: str) -> range:
    first, hyphen, last = text.partition("-")
    if not (hyphen and first.strip() and last.strip()):
        port = parse_number(text, "a port", 1, 65535)
        return range(port, port + 1)
    lower, upper = (parse_number(port, "a port", 1, 65535) for port in (first, last))
    if lower > upper:
        raise BadUsage(f"{text.strip()!r} is not a range of ports", "give the lower one first, such as 8000-8999")
    return range(lower, upper + 1)


def parse_pid(text: str) -> int:
    """A process id. Raise BadUsage if it is none."""
    return parse_number(text, "a process id", 1, 1 << 22)


def parse_number(text: str, what: str, least: int, most: int) -> int:
    """A whole number in decimal. Raise BadUsage, which says what it should have been, if it is none in this range."""
    # int() itself would take signs and underscores, and refuse thousands of digits with an error of its own
    digits = text.strip().lstrip("0") or text.strip()[-1:]
    if digits.isascii() and digits.isdigit() and len(digits) <= len(str(most)) and least <= int(digits) <= most:
        return int(digits)
    raise BadUsage(f"{text!r} is not {what}", f"give a number from {least} to {most}")


def parse_ip_version(text: str) -> int:
    """4 or 6. Raise BadUsage if it is neither."""
    if text.strip() not in ("4", "6"):
        raise BadUsage(f"{text!r} is not an IP version", "give 4 or 6")
    return int(text)


def parse_ring_bytes(text: str) -> int:
    """A size that a ring buffer of the kernel can have. Raise BadUsage if it is none."""
    ring_bytes = parse_number(text, "a size", os.sysconf("SC_PAGE_SIZE"), _MOST_RING_BYTES)
    if ring_bytes & (ring_bytes - 1):
        raise BadUsage(f"{ring_bytes} is not a power of two", "give such as 8388608")
    return ring_bytes


def parse_interim(text: str) -> float:
    """Seconds between two interim reports, 0 for none. Raise BadUsage if it is no such time."""
    seconds = _float(text)
    if seconds != 0 and not _SHORTEST_INTERIM <= seconds <= _LONGEST_INTERIM:
        raise BadUsage(f"{text!r} is not a time", "give a number of seconds, such as 60")
    return seconds


def parse_boolean(text: str) -> bool:
    """As the OpenTelemetry specification has it: `true` or `false`, in any case. Raise BadUsage if it is neither."""
    known = {"true": True, "false": False}
    if text.strip().lower() not in known:
        raise BadUsage(f"{text!r} is neither true nor false", "give true or false")
    return known[text.strip().lower()]


def parse_seconds(text: str) -> float:
    """A time in seconds, which may be 0. Raise BadUsage if it is none."""
    seconds = _float(text)
    if not 0 <= seconds <= _LONGEST_INTERIM:
        raise BadUsage(f"{text!r} is not a time", "give a number of seconds, such as 0.5")
    return seconds


def parse_share(text: str) -> float:
    """A share above 0, up to 1. Raise BadUsage if it is none."""
    share = _float(text)
    if not _SMALLEST_SHARE <= share <= 1:
        raise BadUsage(f"{text!r} is not a share", f"give a number from {_SMALLEST_SHARE:g} to 1, such as 0.01")
    return share


def _float(text: str) -> float:
    """The number, -1 where it is none."""
    try:
        return float(text)
    except ValueError:
        return -1


def parse_names(text: str) -> tuple[str, ...]:
    """Comma-separated names. Raise BadUsage if there is none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise BadUsage(f"{text!r} has no name in it", "separate names with commas")
    return names


def parse_executables(text: str) -> tuple[str, ...]:
    """Comma-separated base names of executables. Raise BadUsage naming one that no executable has in the telemetry."""
    names = parse_names(text)
    for name in names:
        if "/" in name:
            raise BadUsage(f"{name!r} is not the base name of an executable", "give what comes after the last slash")
        if len(name.encode("utf-8", "surrogateescape")) > _LONGEST_EXECUTABLE:
            raise BadUsage(f"{name!r} is too long a name", f"longer than {_LONGEST_EXECUTABLE} bytes none is recorded")
    return names


def parse_path(text: str) -> str:
    """The path of a file or a directory. Raise BadUsage if it cannot be one."""
    if "\0" in text:
        raise BadUsage(f"{text!r} is not a path", "leave out what is not printable")
    return text


def parse_cache(text: str) -> str:
    """The path of a directory, empty for `none`. Raise BadUsage if it cannot be one."""
    return "" if text.lower() == "none" else parse_path(text)
