"""Standard error: one printable line for each thing that is said there, whoever says it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Mapping

from otel_tcplife.export.endpoint import hidden
from otel_tcplife.printable import one_line, printable


def say(line: str) -> None:
    """A line for the user, apart from the table."""
    _write(one_line(line, None))


def show_log(environ: Mapping[str, str] = os.environ) -> None:
    """Show the warnings that anybody logs; with OTEL_LOG_LEVEL=debug, also all that this package logs."""
    logging.getLogger().addHandler(LogLines())
    if environ.get("OTEL_LOG_LEVEL", "").strip().lower() == "debug":
        logging.getLogger("otel_tcplife").setLevel(logging.DEBUG)


class LogLines(logging.Handler):
    """Shows warnings in one line each, without tracebacks and the secrets of URLs.

    What this package logs below that, for debugging, is shown whole: it is what compilers say, and the kernel.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Show it."""
        message = hidden(record.getMessage(), ())
        if record.levelno >= logging.WARNING:
            say(f"{record.name}: {one_line(message)}")
        elif record.name.partition(".")[0] == "otel_tcplife":
            for line in message.splitlines():
                _write(f"{record.name}: {printable(line.expandtabs())}")


def _write(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more, which must end nothing
        print(f"otel-tcplife: {line}", file=sys.stderr, flush=True)
