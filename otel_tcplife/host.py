"""What is known of the host besides the sessions: a source has it, and sinks are given it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from otel_tcplife.networks import Networks


class Entity(NamedTuple):
    """What sessions are observed of, by the cgroup of their sockets; empty where the host is all that is known."""

    container_id: str = ""
    pod_uid: str = ""
    """Of a pod of Kubernetes."""


THE_HOST = Entity()
"""Where a session is in no container and no pod."""


@dataclass(frozen=True)
class Host:
    """Facts that name what the rows have as numbers."""

    entity_of: Callable[[int], Entity] = lambda _cgroup: THE_HOST
    """What a cgroup (v2) is of, by its id."""
    cgroup_of: Callable[[int], str | None] = lambda _cgroup: None
    """Path of a cgroup (v2) outside of containers and pods, by its id; None within one."""
    ephemeral_ports: tuple[int, int] = (32768, 60999)
    """First and last port that the kernel chooses for a socket that asked for none; here, its default."""
    netns: int = 0
    """Inode of the tracer's own network namespace."""
    networks: Networks = field(default_factory=Networks)
    """What peers' networks are called."""


UNKNOWN_HOST = Host()
"""That of a recording."""
