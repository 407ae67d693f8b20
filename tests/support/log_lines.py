"""What otel-tcplife logs, for tests to look at."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from otel_tcplife.log import PREFIX, logger


class _Lines(logging.Handler):
    """Keeps the warnings that are logged, without the name of the program before them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage().removeprefix(PREFIX))


@contextmanager
def logged_lines() -> Generator[list[str]]:
    """The warnings that are logged within the block, as they come."""
    handler = _Lines()
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
