"""On what machines it runs: the package is the same for all of them, and refuses those whose calls it does not know."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import distribution

import pytest

from otel_tcplife.probe.requirements import check_kernel
from tests.support.host_agent import COMMAND

_REFUSED = "otel-tcplife: cannot trace: Linux on i686; run it on x86_64 or aarch64\n"


def test_the_wheel_is_for_all_machines() -> None:
    wheel = distribution("otel-tcplife").read_text("WHEEL") or ""
    assert {"Root-Is-Purelib: true", "Tag: py3-none-any"} <= {*wheel.splitlines()}


@pytest.mark.parametrize(
    ("machine", "is_known"), [("x86_64", True), ("aarch64", True), ("riscv64", False), ("armv7l", False), ("", False)]
)
def test_machines_whose_system_calls_are_known(machine: str, is_known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    check = check_kernel()
    assert check.ok == is_known
    assert machine in check.found or is_known
    assert is_known or check.remedy == "run it on x86_64 or aarch64"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="not every arm64 can pass for a 32-bit machine")
def test_another_machine_is_refused_in_one_line() -> None:
    """The kernel says i686 to a process of this personality (setarch(8))."""
    tracing = ["setarch", "linux32", sys.executable, COMMAND, "--no-table"]
    done = subprocess.run(tracing, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", _REFUSED)
