"""Get the BPF program into the kernel, and own its descriptors."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otel_tcplife.errors import CannotTrace, LacksPrivileges
from otel_tcplife.options import Options
from otel_tcplife.probe import kernel_objects
from otel_tcplife.probe.cache import ProgramCache, cache_directory
from otel_tcplife.probe.compiled import CompiledProgram
from otel_tcplife.probe.diagnosis import remedy_of
from otel_tcplife.probe.host_tracer import HOST_MAP, is_host_traced
from otel_tcplife.probe.interpreters import PATIENCE
from otel_tcplife.probe.loaded import attach, closed_on_error, load, unlimited_locked_memory
from otel_tcplife.probe.pin_directory import PinDirectory
from otel_tcplife.probe.pinned_set import Left
from otel_tcplife.probe.prepared import PreparedProgram, prepare
from otel_tcplife.probe.program import chosen_text
from otel_tcplife.probe.requirements import PRIVILEGES, unmet
from otel_tcplife.session import SESSION, SESSION_IN_SPAN


@dataclass
class Stay:
    """What a program has besides that stays in the kernel when its tracer ends."""

    directory: PinDirectory
    """Where it is pinned; no other tracer has it meanwhile."""
    taken: int
    """The map of what was read, see balance.py."""
    left: Left
    """What programs before this one have left."""


@dataclass
class AttachedProgram:
    """The descriptors of a program in the kernel: it traces as long as the links are open."""

    ring: int
    counters: int
    awaiting_owner: int
    cgroup_paths: int
    scan: int
    """The link of the iterator over open sockets."""
    host: int | None
    """The map that tells others that the whole host is traced."""
    links: list[int]
    ring_bytes: int
    cpus: int
    processes: int | None = None
    """The map of the processes that are traced, of scope process."""
    connecting: int | None = None
    """The map of what the application says of connections, if it says anything."""
    receivers: int | None = None
    """Likewise, the map of the receivers whose connections are left out."""
    row: np.dtype[np.void] = SESSION
    """What a record of the ring has."""
    stay: Stay | None = None

    def is_first_of_host(self) -> bool:
        """Whether nobody began to trace the whole host before it, should it do so itself."""
        try:
            return self.host is None or not is_host_traced(before=self.host)
        except PermissionError:  # it takes more than tracing does; better twice than not at all
            return True

    def detach(self) -> None:
        """End tracing; the maps stay readable. Idempotent."""
        while self.links:
            os.close(self.links.pop())

    def close(self) -> None:
        """End tracing and give the maps up."""
        self.detach()
        maps = (self.ring, self.counters, self.awaiting_owner, self.cgroup_paths, self.host, self.processes)
        for descriptor in (*maps, self.connecting, self.receivers, self.scan):
            if descriptor is not None:
                os.close(descriptor)
        if self.stay:
            os.close(self.stay.taken)
            self.stay.directory.close()


def prepare_program(
    options: Options, *, hide_tracer: bool = True, has_announcements: bool = False, patience: float = PATIENCE
) -> PreparedProgram:
    """Have the program compiled within so many seconds, if no start before this one has; see chosen_text().

    Raise CannotTrace, with the reason and the remedy, where that cannot be.
    """
    with refusals_explained():
        refuse_where_unmet()
        cpus = possible_cpus()
        chosen = chosen_text(options, cpus=cpus, hide_tracer=hide_tracer, has_announcements=has_announcements)
        return prepare(chosen, patience)


def cache_of_command(options: Options) -> str:
    """The cache that has the compiled program which the command would load; empty where none has."""
    cache = ProgramCache(cache_directory(), chosen_text(options, cpus=possible_cpus()))
    return cache.shown if cache.read() else ""


def attach_program(prepared: PreparedProgram) -> AttachedProgram:
    """Have the kernel run it. Takes some 30 ms, so that it can be done with forks held off. Raise CannotTrace."""
    with refusals_explained():
        return prepared.made(attached)


def attached(program: CompiledProgram) -> AttachedProgram:
    """Load a program and attach it to its tracepoints. Raise OSError."""
    with closed_on_error() as opened, unlimited_locked_memory():
        loaded = load(program)
        opened += loaded.descriptors
        maps = loaded.maps
        processes, connecting, receivers = (maps.get(name) for name in ("traced_tgids", "connecting", "receivers"))
        host = kernel_objects.make_array(HOST_MAP, 1) if processes is None else None
        opened += [host] if host is not None else []
        used = [maps[name] for name in ("ring", "counters", "awaiting_owner", "cgroup_paths")]
        attached_program = AttachedProgram(
            *used,
            scan=loaded.scan,
            host=host,
            links=attach(loaded),
            ring_bytes=program.maps["ring"].max_entries,
            cpus=program.maps["counters"].max_entries,
            processes=processes,
            connecting=connecting,
            receivers=receivers,
            row=SESSION_IN_SPAN if "spans" in maps else SESSION,
        )
    kept = {*used, loaded.scan, processes, connecting, receivers}
    for descriptor in {*loaded.descriptors} - kept:  # the kernel has these, too
        os.close(descriptor)
    return attached_program


def refuse_where_unmet() -> None:
    """Raise CannotTrace where something is missing that tracing needs, as far as that is seen in a moment."""
    for check in unmet():
        raise (LacksPrivileges if check.name == PRIVILEGES else CannotTrace)(check.found, check.remedy)


@contextmanager
def refusals_explained() -> Generator[None]:
    """What the system refuses, such as more memory, as a CannotTrace with what mends it."""
    try:
        yield
    except (OSError, MemoryError) as error:
        problem = str(getattr(error, "strerror", None) or error or "out of memory")
        raise CannotTrace(problem, remedy_of(problem)) from error


def possible_cpus() -> int:
    """How many CPUs the kernel may ever bring up: numbers in BPF arrays go up to that."""
    try:
        ranges = Path("/sys/devices/system/cpu/possible").read_text()
    except OSError:
        return os.cpu_count() or 1
    return int(re.findall(r"\d+", ranges)[-1]) + 1
