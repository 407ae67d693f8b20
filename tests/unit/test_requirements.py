"""What the process may do, as its account in /proc has it, and what mends what it may not."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from otel_tcplife.probe.requirements import check_all, check_locked_memory, check_privileges

_SYS_ADMIN, _SYS_RESOURCE, _PERFMON, _BPF = (1 << bit for bit in (21, 24, 38, 39))
_OF_UNIT, _BOUND = "AmbientCapabilities=CAP_BPF CAP_PERFMON of a unit", "CapabilityBoundingSet= of a unit"


def _status(directory: Path, effective: int, bounding: int = 2**41 - 1) -> Path:
    path = directory / "status"
    path.write_text(f"Name:\tx\nCapEff:\t{effective:016x}\nCapBnd:\t{bounding:016x}\n")
    return path


@pytest.mark.parametrize("effective", [_BPF | _PERFMON, _SYS_ADMIN, 2**41 - 1])
def test_what_suffices(effective: int, tmp_path: Path) -> None:
    assert check_privileges(_status(tmp_path, effective)).ok


@pytest.mark.parametrize(
    ("effective", "bounding", "names", "remedy"),
    [
        (0, 2**41 - 1, "CAP_BPF and CAP_PERFMON", _OF_UNIT),
        (_BPF, 2**41 - 1, "CAP_PERFMON", _OF_UNIT),
        (_PERFMON, 2**41 - 1, "CAP_BPF", _OF_UNIT),
        (_BPF, _BPF, "CAP_PERFMON", _BOUND),
        (0, 0, "CAP_BPF and CAP_PERFMON", _BOUND),
    ],
)
def test_what_is_missing_is_named(effective: int, bounding: int, names: str, remedy: str, tmp_path: Path) -> None:
    check = check_privileges(_status(tmp_path, effective, bounding))
    assert not check.ok
    assert check.found.endswith(f"may not load BPF programs without {names}")
    assert remedy in check.remedy


@pytest.mark.parametrize(
    ("effective", "limits", "ok"),
    [
        (_BPF, (65536, 65536), False),
        (_BPF, (65536, resource.RLIM_INFINITY), True),
        (_BPF | _SYS_RESOURCE, (65536, 65536), True),
        (_BPF, (1 << 30, 1 << 30), True),
    ],
)
def test_locked_memory(
    effective: int, limits: tuple[int, int], ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def getrlimit(_resource: int) -> tuple[int, int]:
        return limits

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    check = check_locked_memory(_status(tmp_path, effective))
    assert check.ok == ok
    assert "LimitMEMLOCK=infinity" in check.remedy or ok


@pytest.mark.parametrize(("release", "counts"), [("5.10.0-32-amd64", True), ("5.11.0", False), ("4.19.0", False)])
def test_locked_memory_is_checked_where_it_keeps_from_tracing(
    release: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "1", "x86_64")))
    assert ("locked memory" in [check.name for check in check_all()]) == counts
