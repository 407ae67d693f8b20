"""The program as the compiler has left it: what is to be made in the kernel, which the cache keeps."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from otel_tcplife.probe.kernel_objects import INSTRUCTION_SIZE, MapDefinition, with_maps
from otel_tcplife.probe.program import HOOK_PREFIX, SCAN


class Function(NamedTuple):
    """A function of the program."""

    code: bytes
    """Instructions."""
    target: int = 0
    """BTF id of what it is attached to, by which the verifier knows the types of its arguments; 0 if it is raw."""


@dataclass(frozen=True)
class CompiledProgram:
    """Instructions, in which a map has its number among the maps instead of a descriptor."""

    maps: Mapping[str, MapDefinition]
    """All that there are, in the order of their numbers."""
    hooks: Mapping[str, Function]
    """By tracepoint."""
    scan: Function
    """The iterator."""

    @property
    def has_typed_pointers(self) -> bool:
        """Whether the hooks load the members of structs, see bpf/kernel.h."""
        return any(hook.target for hook in self.hooks.values())

    def encoded(self) -> dict[str, Any]:
        """As JSON can have it: what the compiler printed, and the targets of those functions that have one."""
        functions = {**{HOOK_PREFIX + name: hook for name, hook in self.hooks.items()}, SCAN: self.scan}
        return {
            "maps": self.maps,
            "functions": {name: base64.b64encode(each.code).decode() for name, each in functions.items()},
            "targets": {name: each.target for name, each in functions.items() if each.target},
        }


def decoded(printed: Any) -> CompiledProgram:
    """The program in what encoded() returned. Raise ValueError where it is no such thing."""
    try:
        maps = {name: _definition(values) for name, values in printed["maps"].items()}
        targets, numbers = printed["targets"], list(range(len(maps)))
        functions = {
            name: Function(_code(text, numbers), int(targets.get(name, 0)))
            for name, text in printed["functions"].items()
        }
        scan = functions.pop(SCAN)
        hooks = {name.removeprefix(HOOK_PREFIX): function for name, function in functions.items()}
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"this is no program: {error!r}") from error
    if not scan.target or len({bool(hook.target) for hook in hooks.values()}) > 1:
        raise ValueError("a target is missing")
    return CompiledProgram(maps, hooks, scan)


def _definition(values: Any) -> MapDefinition:
    definition = MapDefinition(*map(int, values))
    if not all(0 <= value < 1 << 32 for value in definition):
        raise ValueError("a map is defined by numbers of 32 bits")
    return definition


def _code(text: str, numbers: list[int]) -> bytes:
    """The instructions. Raise IndexError where they use a map that is none of these numbers."""
    code = base64.b64decode(text, validate=True)
    if not code or len(code) % INSTRUCTION_SIZE:
        raise ValueError("an instruction has 8 bytes")
    return with_maps(code, numbers)
