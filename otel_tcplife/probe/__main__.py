"""python -m otel_tcplife.probe: shows the BPF program and what comes out of it. It can be interrupted at any time."""

from __future__ import annotations

import signal
import sys

from otel_tcplife.__main__ import leave


def main() -> int:
    """Run it; return its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)  # until there is something to drain
    from otel_tcplife.standard_error import show_log

    show_log()
    from otel_tcplife.probe.inspection import main as inspect

    return inspect()


if __name__ == "__main__":
    sys.exit(main())
