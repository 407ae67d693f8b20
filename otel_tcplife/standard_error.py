"""What the command logs, on standard error: a line each of its own, and of what libraries warn of."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Mapping

from otel_tcplife.export.otlp.endpoint import hidden
from otel_tcplife.log import NAME, PREFIX, logger
from otel_tcplife.printable import one_line, printable

_ERASED_LINE = "\r\x1b[K"
"""To the first column, then EL, erase to the end of the line (ECMA-48)."""


class StandardError(logging.Handler):
    """Writes each record as one line; what libraries log without its traceback and the secrets of URLs.

    What is logged for debugging is written whole: it is what compilers say, and the kernel. On a terminal, a line of
    status may stand below all that was logged.
    """

    def __init__(self) -> None:
        """Without a status."""
        super().__init__()
        self._has_status = False

    def show_status(self, line: str) -> None:
        """Replace the status, as much of it as one line of the terminal has room for."""
        columns = shutil.get_terminal_size().columns
        with self.lock or contextlib.nullcontext():
            _write(f"{_ERASED_LINE}{f'{PREFIX}{line}'[: columns - 1]}", end="")
            self._has_status = True

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        if self._has_status:
            _write(_ERASED_LINE, end="")
            self._has_status = False
        message = record.getMessage()
        if record.name != NAME:
            if record.levelno >= logging.WARNING:
                _write(f"{PREFIX}{record.name}: {one_line(hidden(message, ()))}")
        elif record.levelno > logging.DEBUG:
            _write(message)
        else:
            for line in hidden(message.removeprefix(PREFIX), ()).splitlines():
                _write(f"{PREFIX}{printable(line.expandtabs())}")


def log_to_standard_error(environ: Mapping[str, str] = os.environ) -> None:
    """Have the command's own lines, and the warnings of libraries, written there. Idempotent.

    With OTEL_LOG_LEVEL=debug, also what the command logs for debugging; not what libraries do, such as headers.
    """
    root = logging.getLogger()
    if not any(isinstance(handler, StandardError) for handler in root.handlers):
        root.addHandler(StandardError())
    is_debugging = environ.get("OTEL_LOG_LEVEL", "").strip().lower() == "debug"
    logger.setLevel(logging.DEBUG if is_debugging else logging.INFO)


def show_status(line: str) -> None:
    """Show it where the command logs to, in place of what it was before."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StandardError):
            handler.show_status(line)


def _write(line: str, end: str = "\n") -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more, which must end nothing
        print(line, end=end, file=sys.stderr, flush=True)
