"""What tracing needs of the machine, each checked for by itself, with what mends it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from otel_tcplife.probe.btf import KERNEL_BTF, BtfError, read_kernel_btf

OLDEST_KERNEL = (5, 8)
INSTALL_BCC = "install bcc for the distribution's Python (Debian, Ubuntu: apt install python3-bpfcc)"
RUN_AS_ROOT = "run as root, or with the capabilities CAP_BPF and CAP_PERFMON"
BTF_KERNEL = "run a kernel built with CONFIG_DEBUG_INFO_BTF=y"

_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 21, 38, 39


@dataclass(frozen=True)
class Check:
    """One thing that is needed: whether it is there, what was found, and what mends it."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def check_kernel() -> Check:
    """Linux 5.8 or newer, for ring buffers and CAP_BPF."""
    release = os.uname().release
    version = tuple(int(number) for number in release.split("-")[0].split(".")[:2])
    return Check("kernel", version >= OLDEST_KERNEL, f"Linux {release}", "run Linux 5.8 or newer")


def check_btf(path: Path = KERNEL_BTF) -> Check:
    """The kernel's own type information."""
    try:
        read_kernel_btf(path)
    except BtfError as error:
        return Check("BTF", False, str(error), BTF_KERNEL)
    return Check("BTF", True, str(path))


def check_privileges() -> Check:
    """The capabilities that loading a tracing program takes."""
    status = Path("/proc/self/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    held = {bit for bit in (_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF) if effective >> bit & 1}
    ok = _CAP_SYS_ADMIN in held or {_CAP_PERFMON, _CAP_BPF} <= held
    return Check("privileges", ok, f"uid {os.geteuid()}{'' if ok else ', may not load BPF programs'}", RUN_AS_ROOT)


def check_bcc() -> Check:
    """A Python that has bcc."""
    for python in bcc_interpreters():
        asked = subprocess.run(
            [python, "-Ic", "import bcc; bcc.BPF; print(bcc.__version__)"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if asked.returncode == 0:
            return Check("bcc", True, f"{asked.stdout.strip()} in {python}")
    return Check("bcc", False, "no Python with bcc found", INSTALL_BCC)


def bcc_interpreters() -> list[str]:
    """The interpreters that may have bcc: this one if it has a module of that name, then the distribution's."""
    here = [sys.executable] if importlib.util.find_spec("bcc") else []
    distribution = "/usr/bin/python3"
    return [*here, *([distribution] if os.access(distribution, os.X_OK) else [])]


def check_all() -> list[Check]:
    """Every check, in the order in which a user would mend them."""
    return [check_kernel(), check_btf(), check_bcc(), check_privileges()]
