"""Run a command under a seccomp filter that refuses bpf(2), as container runtimes do: seccomp_main.py COMMAND..."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Set the filter, then become the command."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.support.seccomp import refuse

    refuse(["bpf"])
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
