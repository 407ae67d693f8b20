"""Get the BPF program into the kernel through the helper that has bcc, and own its descriptors."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otel_tcplife.errors import CannotTrace, LacksPrivileges
from otel_tcplife.options import Filters, Scope, Sizes
from otel_tcplife.probe.btf import BtfError, read_kernel_btf
from otel_tcplife.probe.diagnosis import remedy_of
from otel_tcplife.probe.host_tracer import HOST_MAP, is_host_traced
from otel_tcplife.probe.interpreters import NoBcc, bcc_interpreters, run_helper
from otel_tcplife.probe.pin_directory import PinDirectory
from otel_tcplife.probe.pinned_set import Left
from otel_tcplife.probe.program import SCAN, SCAN_TARGET, UNANNOUNCED, Connects, program_text
from otel_tcplife.probe.requirements import INSTALL_BCC, PRIVILEGES, btf_remedy, unmet
from otel_tcplife.probe.wire import pair, receive
from otel_tcplife.session import SESSION

_MAPS = ("ring", "counters", "awaiting_owner", "cgroup_paths")
_MAPS_OF_CONNECTS = ("connecting", "receivers")
_MAPS_OF_SCOPE = {Scope.HOST: (*_MAPS, HOST_MAP), Scope.PROCESS: (*_MAPS, "traced_tgids")}


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


@dataclass(frozen=True)
class LoadedProgram:
    """A program in the kernel, whose descriptors are under way."""

    receiver: socket.socket
    maps: Sequence[str]
    ring_bytes: int
    cpus: int
    row: np.dtype[np.void] = SESSION

    def receive(self) -> AttachedProgram:
        """Receive the descriptors. Quick, so that it can be done with forks held off. Raise CannotTrace."""
        with refusals_explained(), self.receiver:
            _, descriptors = receive_descriptors(self.receiver)
        maps, (scan, *links) = descriptors[: len(self.maps)], descriptors[len(self.maps) :]
        ring, counters, awaiting_owner, cgroup_paths, of_scope, *announced = maps
        is_of_host = HOST_MAP in self.maps
        return AttachedProgram(
            ring=ring,
            counters=counters,
            awaiting_owner=awaiting_owner,
            cgroup_paths=cgroup_paths,
            scan=scan,
            host=of_scope if is_of_host else None,
            links=links,
            ring_bytes=self.ring_bytes,
            cpus=self.cpus,
            processes=None if is_of_host else of_scope,
            connecting=announced[0] if announced else None,
            receivers=announced[1] if announced else None,
            row=self.row,
        )


def load_program(
    filters: Filters,
    sizes: Sizes,
    interim: float = 0,
    scope: Scope = Scope.HOST,
    *,
    hide_tracer: bool = True,
    connects: Connects = UNANNOUNCED,
) -> LoadedProgram:
    """Compile, load and attach the program, with interim reports after so many seconds if not 0.

    `hide_tracer` leaves out the connections of this process, those of a host agent that exports what it finds. Raise
    CannotTrace, with the reason and the remedy, where that cannot be.
    """
    with refusals_explained():
        refuse_where_unmet()
        program = program_here(filters, sizes, scope, interim=interim, hide_tracer=hide_tracer, connects=connects)
        return load_text(
            program.text,
            scope,
            program.scan_target,
            ring_bytes=sizes.ring_bytes,
            cpus=program.cpus,
            connects=connects,
        )


def refuse_where_unmet() -> None:
    """Raise CannotTrace where something is missing that tracing needs, as far as that is seen in a moment."""
    for check in unmet():
        raise (LacksPrivileges if check.name == PRIVILEGES else CannotTrace)(check.found, check.remedy)


@dataclass(frozen=True)
class ProgramHere:
    """A program that was made for this kernel."""

    text: str
    scan_target: int
    """BTF id of the kernel function that the iterator is of."""
    cpus: int


def program_here(
    filters: Filters,
    sizes: Sizes,
    scope: Scope,
    *,
    interim: float,
    hide_tracer: bool,
    connects: Connects = UNANNOUNCED,
) -> ProgramHere:
    """Make the program for this kernel. Raise CannotTrace, with the remedy, if it lacks what the program needs."""
    cpus = possible_cpus()
    try:
        btf = read_kernel_btf()
        text = program_text(
            btf, filters, sizes, scope, interim=interim, hide_tracer=hide_tracer, cpus=cpus, connects=connects
        )
        return ProgramHere(text, btf.function_id(SCAN_TARGET), cpus)
    except BtfError as error:
        raise CannotTrace(str(error), btf_remedy(error)) from error


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


def load_text(
    text: str, scope: Scope, scan_target: int, *, ring_bytes: int, cpus: int, connects: Connects = UNANNOUNCED
) -> LoadedProgram:
    """Load a program by the first Python with bcc that can do it.

    `scan_target` is the BTF id of the kernel function that the iterator is of; the sizes are those in the text. Raise
    CannotTrace as load_by_helper() does.
    """
    maps = (*_MAPS_OF_SCOPE[scope], *(_MAPS_OF_CONNECTS if connects.announced else ()))
    request = {"text": text, "maps": maps, "scan": SCAN, "scan_target": scan_target}
    return LoadedProgram(load_by_helper(request), maps, ring_bytes, cpus, connects.row)


def load_by_helper(request: Mapping[str, object], descriptors: Sequence[int] = ()) -> socket.socket:
    """Have the first Python with bcc that can do it load what is asked for, with the descriptors that are named there.

    Return the socket through which the new descriptors come. Raise CannotTrace with the reasons of all Pythons, and
    what mends that.
    """
    reasons: list[str] = []
    for interpreter in bcc_interpreters():
        ours, helpers = pair()
        with helpers:
            try:
                inherited = [helpers.fileno(), *descriptors]
                run_helper(interpreter, [str(helpers.fileno())], json.dumps(request).encode(), inherited)
                return ours
            except NoBcc:
                ours.close()
            except CannotTrace as error:
                ours.close()
                reasons.append(f"{error.problem} (with {interpreter})")
            except BaseException:
                ours.close()
                raise
    if not reasons:
        raise CannotTrace("no Python with bcc found", INSTALL_BCC)
    problem = "; ".join(reasons)
    raise CannotTrace(f"the BPF program could not be loaded: {problem}", remedy_of(problem))


def receive_descriptors(receiver: socket.socket) -> tuple[list[str], list[int]]:
    """The names that the helper sends, and the descriptors. Raise OSError."""
    names, descriptors = receive(receiver)
    if not descriptors:  # there was no room for any of them
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return json.loads(names), descriptors
