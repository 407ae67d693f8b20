"""What a user can choose: one type, filled from the command line, OTEL_PYTHON_TCPLIFE_* or keyword arguments."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Filters:
    """Which sessions to report; each field that is left out selects all."""

    pid: int | None = None
    local_ports: tuple[int, ...] = ()
    peer_ports: tuple[int, ...] = ()
    ip_version: int | None = None


@dataclass(frozen=True)
class Sizes:
    """Bounds of what the kernel keeps."""

    ring_bytes: int = 8 << 20
    """A power of two; about 200 bytes for each session that waits to be read."""
    flows: int = 65536
    """Sessions open at the same time; about 150 bytes of kernel memory each, taken at the start."""
    unclaimed: int = 8192
    """Sessions reset by the peer whose process has not closed the descriptor yet; about 220 bytes each."""
