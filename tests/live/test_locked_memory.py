"""Before Linux 5.11, no map is made under the limit of locked memory: the smallest one could be refused."""

from __future__ import annotations

import resource
from contextlib import closing
from pathlib import Path

import pytest

from otel_tcplife.options import Options
from otel_tcplife.probe import kernel_objects, loaded
from otel_tcplife.probe.kernel_objects import MapDefinition
from otel_tcplife.probe.live import open_live_source, open_pinned_source
from tests.support.pins import bpffs

_LIMITS = 1 << 16, 1 << 16
_NONE = resource.RLIM_INFINITY, resource.RLIM_INFINITY


class _OldKernel:
    """One that counts locked memory, as far as this process is to see, and the limits under which maps were made."""

    def __init__(self) -> None:
        self.limits = _LIMITS
        self.of_maps: list[tuple[int, int]] = []

    def get(self, _resource: int) -> tuple[int, int]:
        return self.limits

    def set(self, _resource: int, limits: tuple[int, int]) -> None:
        self.limits = limits


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> _OldKernel:
    kernel, make_map = _OldKernel(), kernel_objects.make_map

    def noted(name: str, definition: MapDefinition) -> int:
        kernel.of_maps.append(kernel.limits)
        return make_map(name, definition)

    monkeypatch.setattr(kernel_objects, "make_map", noted)
    monkeypatch.setattr(loaded, "COUNTED_MEMORY_BEFORE", (99, 0))
    monkeypatch.setattr(resource, "getrlimit", kernel.get)
    monkeypatch.setattr(resource, "setrlimit", kernel.set)
    return kernel


def test_a_program_of_this_process(kernel: _OldKernel) -> None:
    with closing(open_live_source(Options())):
        assert kernel.limits == _LIMITS
    assert len(kernel.of_maps) > 5
    assert {*kernel.of_maps} == {_NONE}


def test_a_program_that_stays(kernel: _OldKernel, tmp_path: Path) -> None:
    with bpffs(tmp_path / "bpf") as directory, closing(open_pinned_source(str(directory / "tcplife"), Options())):
        assert kernel.limits == _LIMITS
    assert len(kernel.of_maps) > 5
    assert {*kernel.of_maps} == {_NONE}
