"""How much waits, and how long: of the command, and of an application that must not be held up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one pipeline."""

    max_queue_size: int
    """Sessions that may wait for one sink, of about 200 bytes each; more are dropped, and counted."""
    shutdown_within: float
    """Seconds in which everything is delivered once the pipeline is to stop."""
    schedule_delay: float = 1.0
    """Seconds that a session waits for others to be exported with it: a handful costs nearly as much as one."""


COMMAND = Limits(max_queue_size=65536, shutdown_within=3.5)
APPLICATION = Limits(max_queue_size=8192, shutdown_within=2.0)
