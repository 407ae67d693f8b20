"""The logger of otel-tcplife, for the command, which shows it on standard error, and for applications alike.

A message is one printable line, whatever it repeats, and begins with the name of the program: where an application has
set up no logging, Python shows the message alone.
"""

from __future__ import annotations

import logging

from otel_tcplife.printable import one_line

NAME = "otel_tcplife"
PREFIX = "otel-tcplife: "

logger = logging.getLogger(NAME)


class _OneLine(logging.Filter):
    """Makes the message what it is to be, before any handler has it; what is for debugging keeps its lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if not message.startswith(PREFIX):
            text = message if record.levelno <= logging.DEBUG else one_line(message, None)
            record.msg, record.args = PREFIX + text, ()
        return True


logger.addFilter(_OneLine())
