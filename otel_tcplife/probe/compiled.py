"""The program as the compiler has left it: what is to be made in the kernel, which the cache keeps."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_tcplife.probe.kernel_objects import INSTRUCTION_SIZE, MapDefinition, with_maps
from otel_tcplife.probe.program import HOOK_PREFIX, SCAN


@dataclass(frozen=True)
class CompiledProgram:
    """Instructions, in which a map has its number among the maps instead of a descriptor."""

    maps: Mapping[str, MapDefinition]
    """All that there are, in the order of their numbers."""
    hooks: Mapping[str, bytes]
    """By raw tracepoint."""
    scan: bytes
    """The iterator."""
    scan_target: int
    """BTF id of the kernel function that the iterator is of."""

    def encoded(self) -> dict[str, Any]:
        """As JSON can have it: what the compiler printed, and the target of the scan."""
        functions = {**{HOOK_PREFIX + name: code for name, code in self.hooks.items()}, SCAN: self.scan}
        return {
            "maps": self.maps,
            "functions": {name: base64.b64encode(code).decode() for name, code in functions.items()},
            "scan_target": self.scan_target,
        }


def decoded(printed: Any) -> CompiledProgram:
    """The program in what encoded() returned. Raise ValueError where it is no such thing."""
    try:
        maps = {name: _definition(values) for name, values in printed["maps"].items()}
        functions = {name: _code(text, list(range(len(maps)))) for name, text in printed["functions"].items()}
        scan, target = functions.pop(SCAN), int(printed["scan_target"])
        hooks = {name.removeprefix(HOOK_PREFIX): code for name, code in functions.items()}
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"this is no program: {error!r}") from error
    return CompiledProgram(maps, hooks, scan, target)


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
