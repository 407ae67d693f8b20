"""The command with a wall clock that a test can step, without the host's clock being touched: FILE ARGUMENT...

The file has the offset in nanoseconds, as 8 bytes. All that is Python sees it; libraries in C have the host's clock.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time


def _step_by(path: str) -> None:
    with open(path, "r+b") as file:
        offset = mmap.mmap(file.fileno(), 8)
    real = time.time_ns

    def stepped_ns() -> int:
        return real() + struct.unpack("q", offset[:8])[0]

    time.time_ns = stepped_ns
    time.time = lambda: stepped_ns() / 1e9


if __name__ == "__main__":
    _step_by(sys.argv.pop(1))
    from otel_tcplife.__main__ import main

    sys.exit(main())
