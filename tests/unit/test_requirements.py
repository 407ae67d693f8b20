"""What the process may do, as its account in /proc has it, and what mends what it may not."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from otel_tcplife.probe import requirements
from otel_tcplife.probe.requirements import check_all, check_locked_memory, check_privileges
from tests.support.for_all_users import capability_of_file

_SYS_ADMIN, _SYS_RESOURCE, _PERFMON, _BPF = (1 << bit for bit in (21, 24, 38, 39))
_OF_UNIT, _BOUND = "AmbientCapabilities=CAP_BPF CAP_PERFMON of a unit", "CapabilityBoundingSet= of a unit"


@pytest.fixture(autouse=True)
def outside_of_user_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever these tests run."""
    monkeypatch.setattr(requirements, "in_user_namespace", lambda: False)


def _status(
    directory: Path, effective: int, bounding: int = 2**41 - 1, *, permitted: int = 0, no_new_privs: bool = False
) -> Path:
    path = directory / "status"
    sets = {"Inh": 0, "Prm": permitted | effective, "Eff": effective, "Bnd": bounding, "Amb": 0}
    lines = [f"Cap{name}:\t{bits:016x}\n" for name, bits in sets.items()]
    path.write_text("".join(["Name:\tx\n", *lines, f"NoNewPrivs:\t{no_new_privs:d}\n", "Seccomp:\t0\n"]))
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


def test_what_is_permitted_has_to_be_effective(tmp_path: Path) -> None:
    check = check_privileges(_status(tmp_path, 0, permitted=_BPF | _PERFMON))
    assert not check.ok
    assert "cap_bpf,cap_perfmon+ep" in check.remedy


@pytest.mark.parametrize(("no_new_privs", "remedy"), [(True, "do not count with no_new_privs"), (False, _OF_UNIT)])
def test_why_the_capabilities_of_a_file_do_not_count(no_new_privs: bool, remedy: str, tmp_path: Path) -> None:
    program = tmp_path / "python3"
    program.touch()
    status = _status(tmp_path, 0, no_new_privs=no_new_privs)
    assert _OF_UNIT in check_privileges(status, program).remedy
    try:
        os.setxattr(program, "security.capability", capability_of_file(1 << 38 | 1 << 39))
    except OSError as error:
        pytest.skip(f"{error.strerror}: that takes root, and a file system with such attributes")
    assert remedy in check_privileges(status, program).remedy


def test_capabilities_of_a_user_namespace_are_none_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "in_user_namespace", lambda: True)
    check = check_privileges(_status(tmp_path, 2**41 - 1))
    assert not check.ok
    assert "outside of the user namespace" in check.remedy


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
