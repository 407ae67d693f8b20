"""A program in the kernel: its maps made and its instructions loaded, by bpf(2) alone."""

from __future__ import annotations

import os
import resource
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from otel_tcplife.probe import kernel_objects
from otel_tcplife.probe.compiled import CompiledProgram
from otel_tcplife.probe.diagnosis import COUNTED_MEMORY_BEFORE, kernel_version


@dataclass(frozen=True)
class LoadedProgram:
    """Its descriptors. Nothing runs it yet."""

    maps: Mapping[str, int]
    hooks: Mapping[str, int]
    """Programs by tracepoint."""
    targets: Mapping[str, int]
    """BTF ids of these tracepoints, 0 for raw ones."""
    scan: int
    """The link of the iterator over open sockets."""

    @property
    def descriptors(self) -> list[int]:
        """All of them."""
        return [*self.maps.values(), *self.hooks.values(), self.scan]


def load(program: CompiledProgram, instead: Mapping[str, int] = {}) -> LoadedProgram:
    """Make the maps, or duplicate the descriptors of those that are to be used instead, and load all. Raise OSError."""
    with closed_on_error() as opened, unlimited_locked_memory():
        maps: dict[str, int] = {}
        for name, definition in program.maps.items():
            given = instead.get(name)
            maps[name] = os.dup(given) if given is not None else kernel_objects.make_map(name, definition)
            opened.append(maps[name])
        numbered = [*maps.values()]
        hooks: dict[str, int] = {}
        for tracepoint, hook in program.hooks.items():
            code = kernel_objects.with_maps(hook.code, numbered)
            hooks[tracepoint] = kernel_objects.load_tracepoint_program(code, tracepoint, hook.target)
            opened.append(hooks[tracepoint])
        code = kernel_objects.with_maps(program.scan.code, numbered)
        iterator = kernel_objects.load_iterator(code, program.scan.target)
        targets = {tracepoint: hook.target for tracepoint, hook in program.hooks.items()}
        try:
            return LoadedProgram(maps, hooks, targets, kernel_objects.attach_iterator(iterator))
        finally:
            os.close(iterator)


def attach(program: LoadedProgram) -> list[int]:
    """Have each tracepoint run its program; return the links. Raise OSError."""
    with closed_on_error() as links:
        for tracepoint, hook in program.hooks.items():
            links.append(kernel_objects.attach_to_tracepoint(hook, tracepoint, program.targets[tracepoint]))
        return links


@contextmanager
def closed_on_error() -> Generator[list[int]]:
    """Descriptors, all of which are closed where something is raised."""
    opened: list[int] = []
    try:
        yield opened
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise


@contextmanager
def unlimited_locked_memory() -> Generator[None]:
    """Before Linux 5.11, maps and programs count as locked memory while they are made; take the limit away meanwhile,
    as far as this process may.
    """
    if kernel_version() >= COUNTED_MEMORY_BEFORE:
        yield
        return
    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with suppress(ValueError, OSError):  # it may not
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)
