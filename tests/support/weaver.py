"""weaver, the checker of registries of semantic conventions, where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import requests
from typing_extensions import Self

from tests.registry import DIRECTORY
from tests.support.patience import PATIENCE

WEAVER = shutil.which("weaver")

_CONVENTIONS = os.environ.get("SEMANTIC_CONVENTIONS")
"""A directory with the `model` of the release that the registry builds on, for a machine that cannot fetch it."""


def registry_with_its_dependency(directory: Path) -> Path:
    """A copy of docs/registry/ whose semantic conventions weaver finds."""
    registry = Path(shutil.copytree(DIRECTORY, directory / "registry"))
    if _CONVENTIONS:
        manifest = registry / "manifest.yaml"
        before, key, _ = manifest.read_text().partition("registry_path: ")
        manifest.write_text(f"{before}{key}{Path(_CONVENTIONS).resolve() / 'model'}\n")
    return registry


class LiveCheck:
    """Compares what it is sent over OTLP/gRPC with a registry, inside its `with` block."""

    def __init__(self, registry: Path) -> None:
        self._registry = registry

    def __enter__(self) -> Self:
        assert WEAVER, "weaver is not on PATH"
        self._port, self._admin_port = _free_port(), _free_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self._process = subprocess.Popen(
            [
                WEAVER, "registry", "live-check", "--registry", str(self._registry), "--no-stream", "--format", "json",
                "--otlp-grpc-address", "127.0.0.1", "--otlp-grpc-port", str(self._port),
                "--admin-port", str(self._admin_port), "--inactivity-timeout", "600",
            ],
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )  # fmt: skip
        while not _listens(self._port):
            assert self._process.poll() is None, "weaver has ended"
            time.sleep(0.05)
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def stop(self) -> tuple[int, dict[str, Any]]:
        """Its exit code, which is not 0 where there was a violation, and its report."""
        requests.post(f"http://127.0.0.1:{self._admin_port}/stop", timeout=PATIENCE)
        report, _ = self._process.communicate()
        return self._process.returncode, json.loads(report)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def weaver(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end; all that it says is in `stdout`."""
    assert WEAVER, "weaver is not on PATH"
    return subprocess.run([WEAVER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
