"""When steps of a test began and ended."""

from __future__ import annotations

import time

from typing_extensions import Self


class Stopwatch:
    """When a step began and ended, on the clock of the kernel's timestamps (ns of CLOCK_MONOTONIC and Unix time)."""

    def __enter__(self) -> Self:
        self.began, self.began_unix = time.monotonic_ns(), time.time_ns()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended, self.ended_unix = time.monotonic_ns(), time.time_ns()
