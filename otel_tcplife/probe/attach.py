"""Get the BPF program into the kernel through the loader, and own its descriptors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from otel_tcplife.errors import CannotTrace
from otel_tcplife.options import Scope
from otel_tcplife.probe import loader
from otel_tcplife.probe.host_collector import HOST_MAP
from otel_tcplife.probe.program import bpf_directory
from otel_tcplife.probe.requirements import INSTALL_BCC, bcc_interpreters

_MAPS = ("ring", "counters", "unclaimed", "cgroup_paths")
_HOST_MAPS = (*_MAPS, HOST_MAP)
_MOST_LINKS = 16
_SCAN = "bpf_iter__task_file"
_PATIENCE = 60.0
"""Seconds: no application waits for ever to be traced."""


@dataclass
class Attached:
    """The descriptors of a loaded program: it traces as long as the links are open."""

    ring: int
    counters: int
    unclaimed: int
    cgroup_paths: int
    scan: int
    """The link of the iterator over open sockets."""
    host: int | None
    """The map that tells others that the whole host is traced."""
    links: list[int]

    def detach(self) -> None:
        """End tracing; the maps stay readable. Idempotent."""
        while self.links:
            os.close(self.links.pop())

    def close(self) -> None:
        """End tracing and give the maps up."""
        self.detach()
        for descriptor in (self.ring, self.counters, self.unclaimed, self.cgroup_paths, self.scan, self.host):
            if descriptor is not None:
                os.close(descriptor)


def attach(program: str, scope: Scope) -> Attached:
    """Compile, load and attach the program. Raise CannotTrace with the reason where that fails."""
    for interpreter in bcc_interpreters():
        attached = _attach_with(interpreter, program, _HOST_MAPS if scope is Scope.HOST else _MAPS)
        if attached:
            return attached
    raise CannotTrace("no Python with bcc found", INSTALL_BCC)


def _attach_with(interpreter: str, program: str, maps: Sequence[str]) -> Attached | None:
    """As attach(), by one interpreter; None if it has no bcc."""
    ours, loaders = socket.socketpair()
    with ours, loaders:
        try:
            done = subprocess.run(
                [interpreter, "-I", loader.__file__, str(loaders.fileno())],
                input=json.dumps({"text": program, "maps": maps, "scan": _SCAN}),
                env={**os.environ, "BCC_KERNEL_SOURCE": str(bpf_directory() / "shim")},
                pass_fds=[loaders.fileno()],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise CannotTrace(f"the BPF program could not be loaded within {_PATIENCE:.0f} s") from None
        if done.returncode == loader.NO_BCC:
            return None
        if done.returncode:
            raise CannotTrace(f"the BPF program could not be loaded: {_reason(done.stderr)}")
        _, descriptors, _, _ = socket.recv_fds(ours, 1, len(maps) + _MOST_LINKS)
    for descriptor in descriptors:  # an application that becomes another program by exec(2) is traced no more
        os.set_inheritable(descriptor, False)
    (ring, counters, unclaimed, cgroup_paths, *host), (scan, *links) = (
        descriptors[: len(maps)],
        descriptors[len(maps) :],
    )
    return Attached(ring, counters, unclaimed, cgroup_paths, scan, host[0] if host else None, links)


def _reason(errors: str) -> str:
    """The line of the loader's errors that tells most: the compiler's or the kernel's first, else the last one."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or line.startswith("bpf: ")]
    return (telling or lines[-1:] or ["the loader said nothing"])[0]
