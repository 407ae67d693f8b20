"""Paths of cgroups (v2) by id, learnt when a session of one is first read, and kept when the cgroup is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from otel_tcplife import identity
from otel_tcplife.probe import bpf
from otel_tcplife.probe.program import CGROUP_PATH_SIZE
from otel_tcplife.session import SessionBatch


class Cgroups:
    """The cgroups that were there when tracing began, and those that the BPF program saw being made."""

    def __init__(self, map_fd: int) -> None:
        """Go through the hierarchy, if it is mounted; the map has the paths of those that are made while tracing."""
        self._map_fd = map_fd
        for cgroup, path in _hierarchy():
            identity.learn(cgroup, path)

    def learn(self, batch: SessionBatch) -> None:
        """Have identity know all cgroups of the batch."""
        for cgroup in np.unique(batch["cgroup"]).tolist():
            if not identity.knows(cgroup):
                path = self._path(cgroup)
                identity.learn(cgroup, path.split(b"\0")[0].decode(errors="replace") if path else None)

    def _path(self, cgroup: int) -> bytes | None:
        try:
            return bpf.lookup(self._map_fd, cgroup, CGROUP_PATH_SIZE)
        except PermissionError:  # an application may have given up its privileges since it began
            return None


def _hierarchy() -> Iterator[tuple[int, str]]:
    """Id and path of each cgroup: the id is the inode of its directory (kernfs)."""
    root = mount_point()
    if root:
        for directory, _, _ in os.walk(root):
            try:
                yield os.stat(directory).st_ino, "/" + os.path.relpath(directory, root)
            except FileNotFoundError:
                continue


def mount_point() -> str | None:
    """Where the cgroup v2 hierarchy is mounted (proc(5), mountinfo)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        if filesystem.startswith("cgroup2 "):
            return mount.split()[4]
    return None
