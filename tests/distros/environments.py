"""An environment for each agent, from PyPI, with the package of this checkout, kept between runs."""

from __future__ import annotations

import atexit
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from uv import find_uv_bin

_CHECKOUT = Path(__file__).resolve().parents[2]
_CACHE = Path.home() / ".cache" / "otel-tcplife" / "agents"


@contextmanager
def environment(name: str, requirements: Sequence[str]) -> Generator[Path, None, None]:
    """The `bin` of an environment that has these and our wheel; no other run of the tests changes it meanwhile."""
    key = _digest(json.dumps([sys.version, sys.base_prefix, *requirements]).encode())
    directory = _CACHE / f"{name}-{key}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with Path(f"{directory}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(directory, requirements)
        yield directory / "bin"


def _install(directory: Path, requirements: Sequence[str]) -> None:
    wheel = _wheel()
    digest = _digest(wheel.read_bytes())
    marker = directory / "installed-wheel"  # only while the environment is whole
    if marker.exists():
        if marker.read_text() == digest:
            return
        marker.unlink()
    else:
        _uv("venv", "--clear", "--python", sys.executable, directory)
    python = directory / "bin" / "python"
    # What agent and wheel require is resolved at once, as for a user who installs the one beside the other
    _uv("pip", "install", "--python", python, "--reinstall-package", "otel-tcplife", *requirements, wheel)
    marker.write_text(digest)


@functools.cache
def _wheel() -> Path:
    directory = tempfile.mkdtemp(prefix="otel-tcplife-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    _uv("build", "--wheel", "--out-dir", directory, _CHECKOUT)
    [wheel] = Path(directory).glob("*.whl")
    return wheel


def _uv(*arguments: str | Path) -> None:
    command = [find_uv_bin(), "--quiet", "--no-python-downloads", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **_index()})
    if done.returncode:
        raise RuntimeError(f"uv {arguments[0]}: {done.stderr}")


@functools.cache
def _index() -> dict[str, str]:
    """The package index that pip is configured for, which uv does not ask."""
    if "UV_DEFAULT_INDEX" in os.environ:
        return {}
    ask = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    asked = subprocess.run(ask, check=False, capture_output=True, text=True)
    index = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip()
    return {"UV_DEFAULT_INDEX": index} if index else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
