"""The standard streams and the terminal of the command."""

from __future__ import annotations

import os
import sys


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


def give_up_output() -> None:
    """Write nothing more to standard output, whose reader has gone: Python would fail to when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def has_terminal() -> bool:
    """Whether a terminal controls this process, as opposed to a service (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
