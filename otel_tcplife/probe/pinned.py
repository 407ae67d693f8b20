"""A program that stays in the kernel when its tracer ends, by pins in a bpffs, and how the next tracer starts with it.

What is attached for good are hooks, which run whatever program is in them (attach_hook()). A changed program takes
the place of the one before it in each hook, so that each event is one program's, and none is nobody's; it goes on with
the maps, as far as these hold the same. See docs/restart.md.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from otel_tcplife.errors import CannotTrace
from otel_tcplife.log import logger
from otel_tcplife.options import Options
from otel_tcplife.probe import bpf
from otel_tcplife.probe.balance import TAKEN_SIZE
from otel_tcplife.probe.compiled import CompiledProgram
from otel_tcplife.probe.host_tracer import HOST_MAP
from otel_tcplife.probe.kernel_objects import attach_hook, definition_of, fill_hook, has_target, make_array, make_hook
from otel_tcplife.probe.loaded import LoadedProgram, load, unlimited_locked_memory
from otel_tcplife.probe.loader import AttachedProgram, Stay, possible_cpus, refusals_explained, refuse_where_unmet
from otel_tcplife.probe.pin_directory import PinDirectory
from otel_tcplife.probe.pinned_set import Left, PinnedSet, open_whole, take_over
from otel_tcplife.probe.prepared import prepare
from otel_tcplife.probe.program import chosen_text, map_names, with_flows_before
from otel_tcplife.probe.stamp import STAMP_SIZE, Stamp, stamp_here

_TRACER_SIZE = 16
"""Bytes of struct tracer in bpf/scope.h."""


def open_pinned(directory: Path, options: Options) -> AttachedProgram:
    """Trace the whole host by the program that is pinned in this directory.

    It is used as it is where it is the one that these options ask for; else one is loaded, and takes its place. Raise
    BadUsage where the directory cannot be used, CannotTrace where the program cannot.
    """
    pins = PinDirectory(directory)
    try:
        with refusals_explained(), unlimited_locked_memory():
            refuse_where_unmet()
            pins.lock()
            return _Start(pins, options, possible_cpus()).attach()
    except BaseException:
        pins.close()
        raise


@dataclass(frozen=True)
class _Start:
    """The start of a tracer."""

    pins: PinDirectory
    options: Options
    cpus: int

    def attach(self) -> AttachedProgram:
        """Have the right program in the hooks, and no other one pinned."""
        wanted = stamp_here(self.options, self.cpus)
        with ExitStack() as stack:
            sets = [stack.enter_context(closing(each)) for each in self._whole_sets()]
            newest = sets.pop() if sets else None
            if newest and newest.stamp.program == wanted.program:
                logger.info("going on with the BPF program that stayed in %s", self.pins.path)
            else:
                sets += [newest] if newest else []
                newest = stack.enter_context(closing(self._make(newest, wanted)))
            left = self._replace(sets, newest) if sets else Left()
            return self._attached(newest, left)

    def _whole_sets(self) -> list[PinnedSet]:
        """All that there are, the oldest first; what is not whole is removed."""
        found = {number: open_whole(self.pins, number) for number in self.pins.numbers()}
        broken = [number for number, pinned in found.items() if pinned is None]
        for number in broken:
            self.pins.remove_set(number)
        if self.pins.remove_unfinished() or broken:
            logger.warning("what was pinned in %s was not whole, and has been removed", self.pins.path)
        return [pinned for pinned in found.values() if pinned]

    def _make(self, old: PinnedSet | None, wanted: Stamp) -> PinnedSet:
        """Load the program and pin it; one that replaces another is not run yet."""
        with ExitStack() as stack:
            made: dict[str, int] = {}
            stack.callback(lambda: [os.close(each) for each in made.values()])
            alike = old if old and old.stamp.layout == wanted.layout else None
            typed_pointers = old is None or _has_typed_pointers(old)
            loaded = self._load(alike, typed_pointers=typed_pointers)
            made.update({f"map_{name}": descriptor for name, descriptor in loaded.maps.items()})
            made.update({f"program_{name}": descriptor for name, descriptor in loaded.hooks.items()})
            made["scan"] = loaded.scan
            if old and typed_pointers and not any(loaded.targets.values()):
                raise CannotTrace(
                    f"the kernel takes only a program of another kind than the one that stays in {self.pins.path}",
                    "remove that one: otel-tcplife --unpin",
                )
            made["map_taken"] = alike.get("map_taken") if alike else make_array("taken", TAKEN_SIZE, mapped=True)
            for tracepoint in loaded.hooks:
                _hook_up(tracepoint, loaded.targets[tracepoint], old, made)
            made["map_stamp"] = make_array("stamp", STAMP_SIZE)
            bpf.put_only(made["map_stamp"], replace(wanted, pins=sorted(made)).encoded())
            number = max(self.pins.numbers(), default=0) + 1
            self.pins.make_set(number, made)
        pinned = open_whole(self.pins, number)
        if pinned is None:
            raise CannotTrace(f"what was just pinned in {self.pins.path} is not there any more")
        if not alike and old:
            logger.info("the BPF program that stayed is of another version: sessions that are open are adopted")
        logger.info("the BPF program stays in %s when this ends", self.pins.path)
        return pinned

    def _load(self, alike: PinnedSet | None, *, typed_pointers: bool) -> LoadedProgram:
        """Have the maps, the scan and the programs made, on the maps of another set where that holds the same."""
        chosen = chosen_text(self.options, cpus=self.cpus)
        with ExitStack() as stack:
            pinned = [name for name in map_names(chosen) if alike and alike.has(f"map_{name}")]
            kept = {name: stack.enter_context(alike.opened(f"map_{name}")) for name in pinned} if alike else {}
            given = self._flows_before(kept)

            def make(program: CompiledProgram) -> LoadedProgram:
                same = {name: fd for name, fd in kept.items() if definition_of(fd) == program.maps.get(name)}
                return load(program, {**same, **given})

            text = with_flows_before(chosen) if given else chosen
            return prepare(text, typed_pointers=typed_pointers).made(make)

    def _flows_before(self, kept: dict[str, int]) -> dict[str, int]:
        """The flows that the program takes over in a map of another size, if there are such."""
        before = kept.pop("flows_before", None)
        if "flows" in kept and bpf.map_info(kept["flows"]).max_entries != self.options.sizes.max_sessions:
            flows = kept.pop("flows")
            if before is not None:
                _move(before, flows)
            return {"flows_before": flows}
        return {"flows_before": before} if before is not None and any(bpf.keys(before)) else {}

    def _replace(self, old: list[PinnedSet], new: PinnedSet) -> Left:
        """Have the new program run, and no other one any more."""
        new.run()
        bpf.wait_for_programs()
        left = take_over(old, new)
        for each in old:
            self.pins.remove_set(each.number)
        return left

    def _attached(self, pinned: PinnedSet, left: Left) -> AttachedProgram:
        with pinned.opened("map_tracer") as tracer:
            bpf.put_only(tracer, bytes(_TRACER_SIZE))  # the first scan of this process makes it the tracer
        ring = pinned.get("map_ring")
        return AttachedProgram(
            ring=ring,
            counters=pinned.get("map_counters"),
            awaiting_owner=pinned.get("map_awaiting_owner"),
            cgroup_paths=pinned.get("map_cgroup_paths"),
            scan=pinned.get("scan"),
            host=make_array(HOST_MAP, 1),  # not pinned: while no tracer runs, another process may trace the host
            links=[],
            ring_bytes=bpf.map_info(ring).max_entries,
            cpus=self.cpus,
            stay=Stay(self.pins, pinned.get("map_taken"), left),
        )


def _move(before: int, flows: int) -> None:
    """Have one map of flows less, where there is a third. The program looks into the second one first, meanwhile, too.

    What it writes into the first map within the moment that a flow takes is not moved: a state change that it missed.
    """
    size = bpf.map_info(before).value_size
    for key in list(bpf.keys(before)):
        flow = bpf.lookup(before, key, size)
        if flow and bpf.insert(flows, key, flow):
            bpf.delete(before, key)


def _has_typed_pointers(pinned: PinnedSet) -> bool:
    """Whether its programs do, see bpf/kernel.h: a hook takes no program of the other kind."""
    with pinned.opened("program_inet_sock_set_state") as program:
        return has_target(program)


def _hook_up(tracepoint: str, target: int, old: PinnedSet | None, made: dict[str, int]) -> None:
    """Add the hook at a tracepoint, and its link: those of the set before, which runs its program still, or new."""
    hook, link = f"hook_{tracepoint}", f"link_{tracepoint}"
    if old and old.has(hook) and old.has(link):
        made[hook], made[link] = old.get(hook), old.get(link)
        return
    made[hook] = make_hook()
    fill_hook(made[hook], made[f"program_{tracepoint}"])
    made[link] = attach_hook(made[hook], tracepoint, target)
