"""The command, which reads a recording as it reads the kernel: at once, whether there is room in its queues or not."""

from __future__ import annotations

import sys

from otel_tcplife.__main__ import main
from otel_tcplife.replay.source import ReplaySource

if __name__ == "__main__":
    ReplaySource.can_wait = False
    sys.exit(main())
