"""The helper's side: loads the program, and exports what comes of it until the last process that is traced has gone."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from otel_tcplife import delivery_options
from otel_tcplife.allocator import keep_freed_memory
from otel_tcplife.errors import CannotTrace
from otel_tcplife.helper.messages import GO, encoded, refusal
from otel_tcplife.log import logger
from otel_tcplife.option import Option
from otel_tcplife.options import Options, read_options
from otel_tcplife.probe.loader import AttachedProgram, attach_program, prepare_program
from otel_tcplife.standard_error import log_to_standard_error
from otel_tcplife.standard_variables import forget_empty_variables
from otel_tcplife.terminal import open_standard_streams

if TYPE_CHECKING:
    from otel_tcplife.pipeline.destinations import Destinations


def run(wire: socket.socket, request: Any) -> None:
    """Trace the process that asks for it, and what that forks. Nothing that goes wrong gets out of here."""
    _set_up(request["level"])
    try:
        options, destinations, attached = _prepared(request)
    except Exception as error:  # noqa: BLE001 the application says what it is
        with suppress(OSError):
            wire.send(encoded(refusal(error)))
        return
    try:
        connecting = [] if attached.connecting is None else [attached.connecting]
        socket.send_fds(wire, [encoded({})], [attached.scan, *connecting])
        if wire.recv(len(GO)) == GO:
            from otel_tcplife.helper.exporting import export  # imported meanwhile

            balance = export(attached, options, destinations, wire, request["process"])
            wire.send(encoded(balance))
    except OSError as error:  # the application has gone, or takes no answer
        logger.debug("%s", error)
    except CannotTrace as error:
        logger.warning("cannot trace: %s", error)
    except Exception as error:  # noqa: BLE001
        logger.warning("tracing has ended: %s: %s", type(error).__name__, error)


def _set_up(level: int) -> None:
    """Have only the end of what is traced end this process: a service manager stops all processes of a service."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keep_freed_memory()
    open_standard_streams()
    log_to_standard_error()
    logger.setLevel(level)
    forget_empty_variables()
    for option in vars(delivery_options).values():  # which are of the command
        if isinstance(option, Option) and option.variable:
            os.environ.pop(option.variable, None)


def _prepared(request: Any) -> tuple[Options, Destinations, AttachedProgram]:
    """All that can be refused. The program is loaded while this imports what exports. Raise BadUsage, CannotTrace."""
    options = read_options(request["options"])

    def load() -> AttachedProgram:
        prepared = prepare_program(options, hide_tracer=False, has_announcements=options.trace_context)
        return attach_program(prepared)

    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(load)
        from otel_tcplife.helper import exporting

        destinations = exporting.destinations_of(request)
        return options, destinations, loading.result()
