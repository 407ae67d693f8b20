"""python -m otel_tcplife.probe: shows the BPF program and what comes out of it. It can be interrupted at any time."""

from __future__ import annotations

import sys

from otel_tcplife.interrupt import leave_when_interrupted


def main() -> int:
    """Run it; return its exit code."""
    leave_when_interrupted()
    from otel_tcplife.standard_error import log_to_standard_error

    log_to_standard_error()
    from otel_tcplife.probe.inspection import main as inspect

    return inspect()


if __name__ == "__main__":
    sys.exit(main())
