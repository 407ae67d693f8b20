"""The command's entry: otel-tcplife, or python -m otel_tcplife. It imports little before it can be interrupted."""

from __future__ import annotations

import os
import sys

from otel_tcplife.interrupt import leave_when_interrupted


def main() -> int:
    """Run the command; return its exit code."""
    leave_when_interrupted()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's threads have nothing to do here, and would keep privileges
    from otel_tcplife.allocator import keep_freed_memory
    from otel_tcplife.standard_error import log_to_standard_error

    keep_freed_memory()
    log_to_standard_error()  # libraries log from when they are imported on
    from otel_tcplife.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
