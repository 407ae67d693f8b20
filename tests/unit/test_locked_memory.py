"""Before Linux 5.11 the limit of locked memory is taken away while the program is loaded, and is then what it was."""

from __future__ import annotations

import resource

import pytest

from otel_tcplife.probe import kernel_objects, loaded
from otel_tcplife.probe.compiled import CompiledProgram, Function
from otel_tcplife.probe.kernel_objects import MapDefinition

_PROGRAM = CompiledProgram(maps={"flows": MapDefinition(1, 8, 8, 1, 0)}, hooks={}, scan=Function(bytes(8), 1))
_LIMITS = 65536, 1 << 20


@pytest.mark.parametrize(
    ("kernel", "may_raise", "meanwhile"),
    [
        ((5, 10), True, (resource.RLIM_INFINITY,) * 2),
        ((5, 10), False, _LIMITS),
        ((5, 11), True, _LIMITS),
    ],
)
def test_limits(
    kernel: tuple[int, int], may_raise: bool, meanwhile: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits, seen = _LIMITS, list[tuple[int, int]]()

    def getrlimit(_resource: int) -> tuple[int, int]:
        return limits

    def setrlimit(_resource: int, new: tuple[int, int]) -> None:
        nonlocal limits
        if new[1] == resource.RLIM_INFINITY and not may_raise:
            raise ValueError("not allowed to raise maximum limit")
        limits = new

    def refuse(_name: str, _definition: MapDefinition) -> int:
        seen.append(limits)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(loaded, "kernel_version", lambda: kernel)
    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    monkeypatch.setattr(kernel_objects, "make_map", refuse)
    with pytest.raises(PermissionError):
        loaded.load(_PROGRAM)
    assert (seen, limits) == ([meanwhile], _LIMITS)
