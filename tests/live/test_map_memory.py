"""What the kernel takes for a session that is open, against what the help of the option says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from otel_tcplife.options import MAX_SESSIONS
from otel_tcplife.probe import bpf
from tests.support.pins import Pinned


def _bytes_of_each(directory: int, name: str) -> float:
    """Of a map's elements, as the kernel counts its memory (bpf_map_show_fdinfo() in kernel/bpf/syscall.c)."""
    descriptor = bpf.pinned(directory, name)
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    finally:
        os.close(descriptor)
    facts = dict(line.split(":", 1) for line in lines)
    return int(facts["memlock"]) / int(facts["max_entries"])


def test_it_is_as_the_help_has_it(pinned: Pinned) -> None:
    with pinned.agent() as agent:
        agent.stop()
    [pins] = pinned.pins.iterdir()
    directory = os.open(pins, os.O_RDONLY)
    try:
        taken = sum(_bytes_of_each(directory, name) for name in ("map_flows", "map_overflowed"))
    finally:
        os.close(directory)
    found = re.search(r"about (\d+) bytes", MAX_SESSIONS.help)
    assert found
    assert int(found[1]) == pytest.approx(taken, rel=0.1)
