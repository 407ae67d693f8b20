"""python -m tests.live.killed_start_main PINS N: begin to trace with a new program for each N, and be killed by then.

That is before the Nth thing that it does to the kernel or to the directory. It ends with 0 if it does fewer.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otel_tcplife.options import Options, Sizes
from otel_tcplife.probe import bpf
from otel_tcplife.probe.pinned import open_pinned

RING_BYTES = 64 << 20

_DOES = [(bpf, "call"), (os, "mkdir"), (os, "rename"), (os, "unlink"), (os, "rmdir")]


def main() -> None:
    """Do it."""
    pins, left = Path(sys.argv[1]), int(sys.argv[2])

    def counted(does: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **further: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return does(*arguments, **further)

        return do

    for module, name in _DOES:
        setattr(module, name, counted(getattr(module, name)))
    # Of the size that HostAgent's ring has: what the ring of another program had would be read here, and go
    open_pinned(pins, Options(sizes=Sizes(ring_bytes=RING_BYTES), interim=3600 + int(sys.argv[2])))


if __name__ == "__main__":
    main()
