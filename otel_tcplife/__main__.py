"""The command's entry: otel-tcplife, or python -m otel_tcplife. It imports little before it can be interrupted."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> int:
    """Run the command; return its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)  # until there is something to drain
    from otel_tcplife.standard_error import show_log

    show_log()  # libraries log from when they are imported on
    from otel_tcplife.cli import main as command

    return command()


def leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End at once: nothing was traced yet, and the kernel gives up what was loaded."""
    line = f"otel-tcplife: {signal.Signals(number).name} before tracing began\n".encode()
    try:
        os.write(2, line)
    finally:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
