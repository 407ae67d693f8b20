"""What the kernel cannot name: the container that a cgroup is of."""

from __future__ import annotations

import re

# Docker, containerd, CRI-O and Podman, with Kubernetes or without, by cgroupfs (the id alone) or systemd (a scope);
# what watches over a container (conmon) is not in it
_CONTAINER = re.compile(r"(?:(?!\S*conmon)\S*[-:])?([0-9a-f]{64})(?:\.scope)?")

_MOST_KNOWN = 65536

_containers: dict[int, str | None] = {}


def container_id(cgroup_path: str) -> str | None:
    """Id of the innermost container on the path of a cgroup, of version 1 or 2; None outside of any."""
    for name in reversed(cgroup_path.split("/")):
        if found := _CONTAINER.fullmatch(name):
            return found[1]
    return None


def learn(cgroup: int, path: str | None) -> None:
    """Remember the path of a cgroup, by its id; None where it could not be found."""
    if len(_containers) >= _MOST_KNOWN:
        _containers.clear()
    _containers[cgroup] = container_id(path) if path else None


def knows(cgroup: int) -> bool:
    """Whether this cgroup has been learnt."""
    return cgroup in _containers


def container_of(cgroup: int) -> str | None:
    """The container of a cgroup that has been learnt; None outside of any."""
    return _containers.get(cgroup)
