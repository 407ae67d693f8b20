"""What takes long to make or to fetch, kept for later runs."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache() -> Path:
    """The directory of it all, which is there."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-tcplife" / "kernels"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The directory of this name, which `make` fills where it is not there. Raise what that raises.

    It is made beside its final place and renamed when it is whole. Of several runs at the same time, one makes it.
    """
    made = cache() / name
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(prefix="making.", dir=cache()) as work:
                unfinished = Path(work, "unfinished")
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(made)
    return made
