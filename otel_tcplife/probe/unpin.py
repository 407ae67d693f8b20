"""A directory of pins without a tracer: whether it can be used, and the removal of what is pinned there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from otel_tcplife.errors import BadUsage, CannotTrace
from otel_tcplife.options import PIN
from otel_tcplife.probe import bpf
from otel_tcplife.probe.loader import refusals_explained
from otel_tcplife.probe.pin_directory import NoDirectory, PinDirectory
from otel_tcplife.probe.pinned_set import open_whole
from otel_tcplife.probe.requirements import Check
from otel_tcplife.probe.ring import Ring


def check_pins(path: Path) -> Check:
    """Whether a program can stay in this directory."""
    try:
        with closing(PinDirectory(path, make=False)) as pins:
            pinned = pins.numbers()
            try:
                pins.lock()
            except CannotTrace:
                return Check("pins", True, f"an otel-tcplife that runs now uses {path}")
            return Check("pins", True, f"a BPF program {'stays' if pinned else 'can stay'} in {path}")
    except NoDirectory:
        return Check("pins", True, f"{path} will be made")
    except BadUsage as error:
        return Check("pins", False, error.problem, error.remedy)


def unpin(directory: str | None) -> str:
    """Remove all that is pinned in this directory; return what was done. Raise BadUsage where that cannot be."""
    if not directory:
        raise BadUsage(f"--unpin: {PIN.variable} is not set", "set it to the directory in which the program stays")
    nothing = f"nothing of otel-tcplife is pinned in {directory}"
    try:
        with refusals_explained(), closing(PinDirectory(Path(directory), make=False)) as pins:
            try:
                pins.lock()
            except CannotTrace as error:
                raise BadUsage(error.problem, "stop that first") from None
            numbers = pins.numbers()
            unread = _unread(pins, numbers)
            for number in numbers:
                pins.remove_set(number)
            if not pins.remove_unfinished() and not numbers:
                return nothing
    except NoDirectory:
        return nothing
    lost = f"; {unread} records in its ring were not read" if unread else ""
    return f"removed the BPF program that stayed in {directory}{lost}"


def _unread(pins: PinDirectory, numbers: list[int]) -> int:
    """Records in the rings, as far as they can be looked at."""
    rings: dict[int, int] = {}
    for number in numbers:
        pinned = open_whole(pins, number)
        if pinned:
            with closing(pinned), pinned.opened("map_ring") as descriptor:
                info = bpf.map_info(descriptor)
                ring = Ring(descriptor, info.max_entries)
                rings[info.id] = ring.waiting
                ring.unmap()
    return sum(rings.values())
