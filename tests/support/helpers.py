"""The helpers that export the sessions of applications."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from tests.support.patience import PATIENCE

_PROGRAM = "otel_tcplife/helper/__main__.py"


def helpers_of(process: int) -> list[int]:
    """The processes that are helpers of an application, zombies included if they have kept their name."""
    found: list[int] = []
    for directory in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            arguments = (directory / "cmdline").read_text().split("\0")
            if any(each.endswith(_PROGRAM) for each in arguments) and arguments[-2] == str(process):
                found.append(int(directory.name))
    return found


def the_helper_of(process: int) -> int:
    """The one that there is to be, as soon as the launcher before it has gone."""
    deadline = time.monotonic() + PATIENCE
    while len(found := helpers_of(process)) != 1:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found[0]


def wait_until_ended(helper: int) -> None:
    """Wait until a process has gone, and is no zombie either."""
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{helper}").exists():
        assert time.monotonic() < deadline, Path(f"/proc/{helper}/status").read_text()
        time.sleep(0.01)
