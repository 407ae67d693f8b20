"""A variable of the environment and its value."""

from __future__ import annotations

from typing import NamedTuple

from otel_tcplife.errors import BadUsage


class Setting(NamedTuple):
    """A variable and its value, which is empty where it is not set."""

    variable: str
    value: str

    def bad(self, problem: str, remedy: str) -> BadUsage:
        """The error that names both; not for values that may be secret."""
        return BadUsage(f"{self.variable}={self.value!r} {problem}", remedy)
