"""Standard error: one printable line for each thing that is said there, whoever says it."""

from __future__ import annotations

import contextlib
import logging
import sys

from otel_tcplife.export.endpoint import hidden
from otel_tcplife.printable import one_line


def say(line: str) -> None:
    """A line for the user, apart from the table."""
    with contextlib.suppress(OSError):  # nobody reads it any more, which must end nothing
        print(f"otel-tcplife: {one_line(line, None)}", file=sys.stderr, flush=True)


class LogLines(logging.Handler):
    """Says the warnings that libraries log: one line each, without tracebacks and the secrets of URLs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        say(f"{record.name}: {one_line(hidden(record.getMessage(), ()))}")
