"""Places in which a test has its actors run: cgroups and network namespaces, gone when their `with` block ends."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from otel_tcplife.probe.containers import mount_point


@contextmanager
def cgroup(path: str) -> Generator[Path]:
    """A cgroup (v2) at this path below one of its own, so that no other run of the tests has it."""
    directory = Path(mount_point() or "") / f"tcplife-test-{uuid.uuid4().hex[:8]}"
    made: list[Path] = []
    try:
        for name in ("", *path.split("/")):
            directory /= name
            directory.mkdir()
            made.append(directory)
        yield directory
    finally:
        for each in reversed(made):
            each.rmdir()


def move(pid: int, directory: Path) -> None:
    """Move a process into a cgroup."""
    (directory / "cgroup.procs").write_text(str(pid))


@contextmanager
def network_namespace() -> Generator[tuple[str, int]]:
    """A network namespace of which only the loopback is up: its name for ip(8), and its inode."""
    name = f"tcplife-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name, os.stat(f"/run/netns/{name}").st_ino
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
