"""The errors that a user can mend; the command turns each into one line and an exit code."""

from __future__ import annotations


class TcplifeError(Exception):
    """What was wrong, and how to mend it, in one line."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class CannotTrace(TcplifeError):
    """This machine or this user cannot trace."""


class LacksPrivileges(CannotTrace):
    """This process may not load BPF programs."""


class BadUsage(TcplifeError):
    """An option, an environment variable or an input that cannot be what was meant."""
