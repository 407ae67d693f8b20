"""Programs of other projects that are built from Go's module proxy, once for each version, and run by tests."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# Nothing that the user has set for their own Go work may change what is built, nor fetch another Go.
_ENVIRON = {
    "GO111MODULE": "on",
    "GOFLAGS": "-trimpath",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
    "CGO_ENABLED": "0",
}


@functools.cache
def go_program(package: str, version: str) -> Path | None:
    """Its binary, built where it is not there; None without a Go new enough to do so, RuntimeError if that fails."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-tcplife"
    name = package.rpartition("/")[2]
    binary = cache / f"{name}-{version}"
    if binary.exists():
        return binary
    if not shutil.which("go"):
        return None
    cache.mkdir(parents=True, exist_ok=True)
    # Built beside its final place, so that the rename is atomic and concurrent builds only repeat the work.
    with tempfile.TemporaryDirectory(prefix="build.", dir=cache) as work:
        command = ["go", "install", "-ldflags", "-s -w", f"{package}@{version}"]
        environ = {**os.environ, **_ENVIRON, "GOBIN": work}
        build = subprocess.run(command, check=False, capture_output=True, text=True, cwd=work, env=environ)
        if build.returncode == 0:
            Path(work, name).rename(binary)
        elif "requires go >=" in build.stderr:
            return None
        else:
            raise RuntimeError(build.stderr)
    return binary
