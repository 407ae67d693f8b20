"""Get the BPF program into the kernel through the loader, and own its descriptors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from otel_tcplife import forks
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


@dataclass
class Loaded:
    """A program that traces, whose descriptors are under way."""

    receiver: socket.socket
    maps: Sequence[str]

    def take(self) -> Attached:
        """Receive the descriptors. Quick, so that it can be done with forks held off."""
        with self.receiver:
            descriptors = _receive(self.receiver, len(self.maps) + _MOST_LINKS)
        (ring, counters, unclaimed, cgroup_paths, *host), (scan, *links) = (
            descriptors[: len(self.maps)],
            descriptors[len(self.maps) :],
        )
        return Attached(ring, counters, unclaimed, cgroup_paths, scan, host[0] if host else None, links)


def load(program: str, scope: Scope) -> Loaded:
    """Compile, load and attach the program. Raise CannotTrace with the reason where that fails."""
    maps = _HOST_MAPS if scope is Scope.HOST else _MAPS
    request = json.dumps({"text": program, "maps": maps, "scan": _SCAN}).encode()
    for interpreter in bcc_interpreters():
        receiver = _load_with(interpreter, request)
        if receiver:
            return Loaded(receiver, maps)
    raise CannotTrace("no Python with bcc found", INSTALL_BCC)


def _load_with(interpreter: str, request: bytes) -> socket.socket | None:
    """As load(), by one interpreter; None if it has no bcc."""
    ours, loaders = socket.socketpair()
    # Files, not pipes: a child that the application forks meanwhile would keep those open
    with loaders, _memory() as told, _memory() as said:
        told.write(request)
        told.seek(0)
        try:
            status = _run([interpreter, "-I", loader.__file__, str(loaders.fileno())], loaders.fileno(), told, said)
        except subprocess.TimeoutExpired:
            raise CannotTrace(f"the BPF program could not be loaded within {_PATIENCE:.0f} s") from None
        if status == 0:
            return ours
        ours.close()
        if status == loader.NO_BCC:
            return None
        said.seek(0)
        raise CannotTrace(f"the BPF program could not be loaded: {_reason(said.read().decode(errors='replace'))}")


def _receive(receiver: socket.socket, most: int) -> list[int]:
    """As socket.recv_fds(), which makes descriptors that children inherit, and heeds no flag."""
    _, [(_, _, content)], _, _ = receiver.recvmsg(1, socket.CMSG_LEN(most * 4), socket.MSG_CMSG_CLOEXEC)
    return list(memoryview(content).cast("i"))


def _memory() -> IO[bytes]:
    """A file that needs no file system that can be written to."""
    return open(os.memfd_create("otel-tcplife"), "w+b")


def _run(command: Sequence[str], descriptor: int, told: IO[bytes], said: IO[bytes]) -> int:
    with forks.held_off():  # Popen waits for the end of a pipe
        process = subprocess.Popen(
            command,
            stdin=told,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, "BCC_KERNEL_SOURCE": str(bpf_directory() / "shim")},
            pass_fds=[descriptor],
        )
    try:
        return process.wait(_PATIENCE)
    except BaseException:
        process.kill()
        process.wait()
        raise


def _reason(errors: str) -> str:
    """The line of the loader's errors that tells most: the compiler's or the kernel's first, else the last one."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or line.startswith("bpf: ")]
    return (telling or lines[-1:] or ["the loader said nothing"])[0]
