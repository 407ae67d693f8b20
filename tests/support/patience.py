"""How long tests wait for what comes at once on a machine that has nothing else to do."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0
"""Seconds after which something has hung, however slow the machine is."""


def eventually(condition: Callable[[], object]) -> None:
    """Wait until it holds, and fail where that never comes."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
