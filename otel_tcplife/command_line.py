"""What the commands have in common: exit codes, and one line on standard error for each error."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from otel_tcplife.errors import BadUsage, CannotTrace
from otel_tcplife.export.otlp.endpoint import hidden
from otel_tcplife.log import logger
from otel_tcplife.probe.diagnosis import remedy_of
from otel_tcplife.standard_error import log_to_standard_error
from otel_tcplife.terminal import flush_output, open_standard_streams

STOPPED, CANNOT_TRACE, BAD_USAGE = 0, 1, 2
"""Exit codes."""


class Parser(argparse.ArgumentParser):
    """Says in one line what was wrong."""

    def error(self, message: str) -> NoReturn:
        """Raise BadUsage."""
        raise BadUsage(message, f"see {self.prog} --help")


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command, and log what it raises; return its exit code."""
    open_standard_streams()
    log_to_standard_error()
    try:
        return command()
    except BadUsage as error:
        logger.error("%s", error)
        return BAD_USAGE
    except CannotTrace as error:
        logger.error("cannot trace: %s", error)
        return CANNOT_TRACE
    except Exception as error:  # noqa: BLE001 a library's, for which nobody was prepared: one line for the user, too
        problem = hidden(f"{type(error).__name__}: {error}", ())
        logger.error("cannot trace: %s; %s", problem, remedy_of(problem) or "please report this")
        return CANNOT_TRACE
    finally:
        flush_output()
