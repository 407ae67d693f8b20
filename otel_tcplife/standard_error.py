"""What the command logs, on standard error: a line each of its own, and of what libraries warn of."""

from __future__ import annotations

import contextlib
import logging
import sys

from otel_tcplife.export.otlp.endpoint import hidden
from otel_tcplife.log import NAME, PREFIX, logger
from otel_tcplife.printable import one_line


class StandardError(logging.Handler):
    """Writes each record as one line; what libraries log without its traceback and the secrets of URLs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        message = record.getMessage()
        if record.name != NAME:
            message = f"{PREFIX}{record.name}: {one_line(hidden(message, ()))}"
        with contextlib.suppress(OSError):  # nobody reads it any more, which must end nothing
            print(message, file=sys.stderr, flush=True)


def log_to_standard_error() -> None:
    """Have the command's own lines, and the warnings of libraries, written there. Idempotent."""
    root = logging.getLogger()
    if not any(isinstance(handler, StandardError) for handler in root.handlers):
        root.addHandler(StandardError())
    logger.setLevel(logging.INFO)
