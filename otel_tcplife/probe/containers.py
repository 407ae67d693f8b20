"""Containers, pods and paths by cgroup (v2), learnt when a session of one is first read, and kept when it is gone."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from otel_tcplife.host import THE_HOST, Entity
from otel_tcplife.printable import printable
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

_INITIAL_NAMESPACE = 0xEFFFFFFB
"""Inode of the cgroup namespace in which all paths begin at the root (include/linux/proc_ns.h)."""

_WALK_SHARE = 0.01
"""How much of the time may go into looking through the hierarchy again."""


def entity_at(cgroup_path: str) -> Entity:
    """The innermost container and pod on the path of a cgroup, of version 1 or 2."""
    names = [*reversed(cgroup_path.split("/"))]
    container = next((found[1] for name in names if (found := _CONTAINER.fullmatch(name))), "")
    pod = next((found[1] for name in names if (found := _POD.fullmatch(name))), "")
    return Entity(container, pod.replace("_", "-"))


class Cgroup(NamedTuple):
    """What the path of a cgroup says."""

    entity: Entity
    shown: str | None
    """As a line of /proc/PID/cgroup; None within a container or pod, of the root, and where it may be cut."""

    @classmethod
    def at(cls, path: bytes, *, absolute: bool = True) -> Cgroup:
        """That at this path, which begins at the root of all cgroups if it is absolute."""
        text = path.decode(errors="replace")
        entity = entity_at(text)
        is_shown = absolute and entity == THE_HOST and path != b"/" and len(path) < CGROUP_PATH_SIZE - 1
        return cls(entity, "0::" + printable(text) if is_shown else None)


class Containers:
    """The containers and pods of cgroups: of those that were there when tracing began, and that the program saw made.

    Of more cgroups than two generations have, those without a session for longest are forgotten, and found again where
    they still exist. One thread learns; others may ask.
    """

    def __init__(self, map_fd: int) -> None:
        """Look through the hierarchy, if it is mounted; the map has the paths of cgroups made while tracing."""
        self._map_fd = map_fd
        self._recent: dict[int, Cgroup | None] = {}
        self._before: dict[int, Cgroup | None] = {}
        self._next_walk = 0.0
        self._sees_the_root = _sees_the_root()
        self._walk()

    def learn(self, batch: SessionBatch) -> None:
        """Learn all cgroups of the batch, so that entity_of() knows them for as long as the batch waits."""
        cgroups: list[int] = batch["cgroup"].tolist()
        for cgroup in {*cgroups}:
            if cgroup not in self._recent:
                self._remember(cgroup, self._find(cgroup))

    def entity_of(self, cgroup: int) -> Entity:
        """What a cgroup that was learnt is of."""
        known = self._known(cgroup)
        return known.entity if known else THE_HOST

    def cgroup_of(self, cgroup: int) -> str | None:
        """The path of a cgroup that was learnt, as Cgroup.shown."""
        known = self._known(cgroup)
        return known.shown if known else None

    @property
    def size(self) -> int:
        """How many cgroups are remembered."""
        return len(self._recent) + len(self._before)

    def _known(self, cgroup: int) -> Cgroup | None:
        return self._recent.get(cgroup) or self._before.get(cgroup)

    def _find(self, cgroup: int) -> Cgroup | None:
        if cgroup in self._before:
            return self._before[cgroup]
        path = self._path(cgroup)
        if path:
            return Cgroup.at(path.split(b"\0")[0])
        if cgroup and time.monotonic() >= self._next_walk:
            self._walk()
        return self._known(cgroup)

    def _remember(self, cgroup: int, found: Cgroup | None) -> None:
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
                self._remember(cgroup, Cgroup.at(os.fsencode(path), absolute=self._sees_the_root))
        self._next_walk = time.monotonic() + (time.monotonic() - began) / _WALK_SHARE


def _hierarchy() -> Iterator[tuple[int, str]]:
    """Id and path of each cgroup: the id is the inode of its directory (kernfs)."""
    above, root = _mount() or ("", "")
    if root:
        for directory, _, _ in os.walk(root):
            try:
                yield os.stat(directory).st_ino, above.rstrip("/") + directory.removeprefix(root) or "/"
            except FileNotFoundError:
                continue


def _sees_the_root() -> bool:
    """Whether this process sees paths as the kernel has them (cgroup_namespaces(7))."""
    try:
        return os.stat("/proc/self/ns/cgroup").st_ino == _INITIAL_NAMESPACE
    except OSError:  # the kernel has no cgroups
        return False


def mount_point() -> str | None:
    """Where the cgroup v2 hierarchy is mounted."""
    mount = _mount()
    return mount and mount[1]


def _mount() -> tuple[str, str] | None:
    """Which cgroup is mounted there, and where (proc(5), mountinfo).

    A container has a mount of its own cgroup, and may have one of the host's, the root, behind it.
    """
    mounts = [line.partition(" - ") for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()]
    found = [mount.split()[3:5] for mount, _, filesystem in mounts if filesystem.startswith("cgroup2 ")]
    above, root = next((each for each in found if each[0] == "/"), found[0]) if found else (None, None)
    return (above, root) if above and root else None
