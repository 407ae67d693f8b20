"""Run the command as one that starts no other process: without_processes_main.py COMMAND ARGUMENT..."""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the command itself does

from otel_tcplife import __main__

_STARTS = ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system")


def _refuse(event: str, _arguments: tuple[Any, ...]) -> None:
    """What Python is about to do (audit events)."""
    if event in _STARTS:
        os.write(2, f"otel-tcplife: {event}\n".encode())
        os._exit(9)


if __name__ == "__main__":
    sys.addaudithook(_refuse)
    del sys.argv[0]  # the command that this runs as
    sys.exit(__main__.main())
