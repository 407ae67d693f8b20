"""The command's entry: otel-tcplife, or python -m otel_tcplife."""

from __future__ import annotations

import sys

from otel_tcplife.cli import main

if __name__ == "__main__":
    sys.exit(main())
