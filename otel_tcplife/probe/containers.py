"""Containers and pods by cgroup (v2), learnt when a session of one is first read, and kept when the cgroup is gone."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from otel_tcplife.host import THE_HOST, Entity
from otel_tcplife.probe import bpf
from otel_tcplife.probe.program import CGROUP_PATH_SIZE
from otel_tcplife.session import SessionBatch

# Docker, containerd, CRI-O and Podman, with Kubernetes or without, by cgroupfs (the id alone) or systemd (a scope);
# what watches over a container (conmon) is not in it
_CONTAINER = re.compile(r"(?:(?!\S*conmon)\S*[-:])?([0-9a-f]{64})(?:\.scope)?")

# By systemd, whose names have no dashes of their own, or by cgroupfs; a pod of a file of the kubelet has 32 digits
_DIGITS = "[0-9a-f]"
_POD = re.compile(
    rf"(?:[^:]*-)?pod({_DIGITS}{{8}}(?:[-_]{_DIGITS}{{4}}){{3}}[-_]{_DIGITS}{{12}}|{_DIGITS}{{32}})(?:\.slice(?::.*)?)?"
)

_GENERATION = 65536
"""Cgroups of which the recent ones are remembered, and as many before these."""

_WALK_SHARE = 0.01
"""How much of the time may go into looking through the hierarchy again."""


def entity(cgroup_path: str) -> Entity:
    """The innermost container and pod on the path of a cgroup, of version 1 or 2."""
    names = [*reversed(cgroup_path.split("/"))]
    container = next((found[1] for name in names if (found := _CONTAINER.fullmatch(name))), "")
    pod = next((found[1] for name in names if (found := _POD.fullmatch(name))), "")
    return Entity(container, pod.replace("_", "-"))


class Containers:
    """The containers and pods of cgroups: of those that were there when tracing began, and that the program saw made.

    Of more cgroups than two generations have, those without a session for longest are forgotten, and found again where
    they still exist. One thread learns; others may ask.
    """

    def __init__(self, map_fd: int) -> None:
        """Look through the hierarchy, if it is mounted; the map has the paths of cgroups made while tracing."""
        self._map_fd = map_fd
        self._recent: dict[int, Entity] = {}
        self._before: dict[int, Entity] = {}
        self._next_walk = 0.0
        self._walk()

    def learn(self, batch: SessionBatch) -> None:
        """Learn all cgroups of the batch, so that entity_of() knows them for as long as the batch waits."""
        for cgroup in np.unique(batch["cgroup"]).tolist():
            if cgroup not in self._recent:
                self._remember(cgroup, self._find(cgroup))

    def entity_of(self, cgroup: int) -> Entity:
        """What a cgroup that was learnt is of."""
        return self._recent.get(cgroup, self._before.get(cgroup, THE_HOST))

    @property
    def size(self) -> int:
        """How many cgroups are remembered."""
        return len(self._recent) + len(self._before)

    def _find(self, cgroup: int) -> Entity:
        if cgroup in self._before:
            return self._before[cgroup]
        path = self._path(cgroup)
        if path:
            return entity(path.split(b"\0")[0].decode(errors="replace"))
        if cgroup and time.monotonic() >= self._next_walk:
            self._walk()
        return self.entity_of(cgroup)

    def _remember(self, cgroup: int, found: Entity) -> None:
        if len(self._recent) >= _GENERATION:
            self._before, self._recent = self._recent, {}
        self._recent[cgroup] = found

    def _path(self, cgroup: int) -> bytes | None:
        try:
            return bpf.lookup(self._map_fd, cgroup, CGROUP_PATH_SIZE)
        except PermissionError:  # an application may have given up its privileges since it began
            return None

    def _walk(self) -> None:
        began = time.monotonic()
        for cgroup, path in _hierarchy():
            if cgroup not in self._recent:
                self._remember(cgroup, entity(path))
        self._next_walk = time.monotonic() + (time.monotonic() - began) / _WALK_SHARE


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
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        mount, _, filesystem = line.partition(" - ")
        if filesystem.startswith("cgroup2 "):
            return mount.split()[4]
    return None
