"""The standard streams and the terminal of the command."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from otel_tcplife.log import PREFIX


def open_standard_streams() -> None:
    """Open those that were closed before the command began, on nothing.

    Else, what is opened next would get the number of one, and what is meant for that would go there; and Python prints
    to standard output what has nowhere to go.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def show(line: str) -> None:
    """Print a line; where nobody reads any more, as in `otel-tcplife --check | head -1`, print nothing."""
    try:
        print(line, flush=True)
    except OSError:
        give_up_output()


def give_up_output() -> None:
    """Write nothing more to standard output, which cannot be written to: Python would fail to when it ends."""
    with suppress(OSError, ValueError):  # what stands for it may be no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def flush_output() -> None:
    """Write what is left to write, if that can be."""
    try:
        sys.stdout.flush()
    except OSError:
        give_up_output()


def write_within_handler(line: str) -> None:
    """Write a line on standard error within a signal's handler, which may interrupt the logging of another one."""
    with suppress(OSError):
        os.write(2, f"{PREFIX}{line}\n".encode())


def has_terminal() -> bool:
    """Whether a terminal controls this process, as opposed to a service (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
