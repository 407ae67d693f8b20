"""What tracing needs of the machine, each checked for by itself, with what mends it."""

from __future__ import annotations

import os
import platform
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from otel_tcplife.capabilities import LOADING, THIS_THREAD, Capability, ThreadCapabilities, capabilities_of
from otel_tcplife.errors import CannotTrace
from otel_tcplife.options import Sizes
from otel_tcplife.probe.btf import KERNEL_BTF, BtfError, NotInKernel, read_kernel_btf
from otel_tcplife.probe.diagnosis import (
    COUNTED_MEMORY_BEFORE,
    MORE_LOCKED_MEMORY,
    NOT_IN_USER_NAMESPACE,
    RUN_AS_ROOT,
    in_user_namespace,
    kernel_version,
    remedy_of,
)
from otel_tcplife.probe.interpreters import NoBcc, bcc_interpreters, run_helper

PRIVILEGES = "privileges"
"""The name of that check."""
OLDEST_KERNEL = (5, 8)
INSTALL_BCC = "install bcc for the distribution's Python (Debian, Ubuntu: apt install python3-bpfcc)"
BTF_KERNEL = "run a kernel built with CONFIG_DEBUG_INFO_BTF=y"
MOUNT_SYS = "mount it (mount -t sysfs sysfs /sys), or give the container the host's /sys"
MOUNT_PROC = "mount it (mount -t proc proc /proc)"

_MACHINES = ("x86_64", "aarch64")
_AMBIENT = "AmbientCapabilities=CAP_BPF CAP_PERFMON of a unit"


@dataclass(frozen=True)
class Check:
    """One thing that is needed: whether it is there, what was found, and what mends it."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def check_kernel() -> Check:
    """Linux 5.8 or newer, for ring buffers and CAP_BPF; little-endian machines with 64 bits."""
    release, machine = os.uname().release, platform.machine()
    if machine not in _MACHINES:
        return Check("kernel", False, f"Linux on {machine}", f"run it on {' or '.join(_MACHINES)}")
    found = re.match(r"(\d+)\.(\d+)", release)
    is_new = found is not None and (int(found[1]), int(found[2])) >= OLDEST_KERNEL
    return Check("kernel", is_new, f"Linux {release}", "run Linux 5.8 or newer")


def check_proc(path: Path = Path("/proc/self")) -> Check:
    """The kernel's account of this process."""
    found = path.is_dir()
    return Check("proc", found, "/proc" if found else "/proc is not mounted", MOUNT_PROC)


def check_btf(path: Path = KERNEL_BTF, *, cache: str = "") -> Check:
    """The kernel's own type information."""
    try:
        read_kernel_btf(path)
    except BtfError as error:
        return _for_compiling("BTF", str(error), btf_remedy(error, path), cache)
    return Check("BTF", True, str(path))


def btf_remedy(error: BtfError, path: Path = KERNEL_BTF) -> str:
    """What mends it: where not even the kernel's directory is there, /sys is not mounted."""
    if isinstance(error, NotInKernel):
        return f"please report this, with the name of the kernel, {os.uname().release}"
    return BTF_KERNEL if path.parents[1].is_dir() else MOUNT_SYS


def check_privileges(path: Path = THIS_THREAD, program: Path = Path("/proc/self/exe")) -> Check:
    """The capabilities that loading a tracing program takes; `program` is what this process runs."""
    own = capabilities_of(path)
    if in_user_namespace():
        found = f"uid {os.geteuid()} in a user namespace, may not load BPF programs"
        return Check(PRIVILEGES, False, found, NOT_IN_USER_NAMESPACE)
    missing = 0 if own.effective & Capability.SYS_ADMIN else LOADING & ~own.effective
    if not missing:
        return Check(PRIVILEGES, True, f"uid {os.geteuid()}")
    names = " and ".join(_names(missing))
    found = f"uid {os.geteuid()}, may not load BPF programs without {names}"
    return Check(PRIVILEGES, False, found, _remedy_of_missing(missing, own, program))


def _remedy_of_missing(missing: int, own: ThreadCapabilities, program: Path) -> str:
    if not missing & ~own.permitted:
        return "make effective what it is permitted, as setcap cap_bpf,cap_perfmon+ep does for the file of its Python"
    if missing & ~own.bounding:
        return "have what started it leave it these (CapabilityBoundingSet= of a unit, --cap-add of a container)"
    if why := _why_file_does_not_count(own, program):
        return f"capabilities of the file of its Python do not count {why}: take that away, or have {_AMBIENT}"
    return f"{RUN_AS_ROOT} ({_AMBIENT})"


def _why_file_does_not_count(own: ThreadCapabilities, program: Path) -> str:
    """What keeps this process from the capabilities that the file of its program has, if that has any (execve(2))."""
    try:
        os.getxattr(program, "security.capability")
        is_nosuid = os.statvfs(program).f_flag & os.ST_NOSUID
    except OSError:
        return ""
    if own.no_new_privs:
        return "with no_new_privs (NoNewPrivileges= of a unit, allowPrivilegeEscalation: false of Kubernetes)"
    return "on a file system that is mounted nosuid" if is_nosuid else ""


def _names(capabilities: int) -> list[str]:
    return [f"CAP_{each.name}" for each in sorted(Capability, reverse=True) if each & capabilities]


def check_locked_memory(path: Path = THIS_THREAD) -> Check:
    """Before 5.11, whether RLIMIT_MEMLOCK holds the ring at least, or bcc may take the limit away, as it tries to."""
    limit, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if capabilities_of(path).effective & Capability.SYS_RESOURCE or most == resource.RLIM_INFINITY:
        return Check("locked memory", True, "no limit that holds")
    return Check("locked memory", limit > Sizes().ring_bytes, f"a limit of {limit} bytes", MORE_LOCKED_MEMORY)


def check_bcc(cache: str = "") -> Check:
    """A Python that has bcc."""
    problems: list[str] = []
    for python in bcc_interpreters():
        try:
            return Check("bcc", True, f"{run_helper(python, [], b'{}')} in {python}")
        except NoBcc:
            continue
        except CannotTrace as error:
            problems.append(f"{error.problem} (with {python})")
    if not problems:
        return _for_compiling("bcc", "no Python with bcc found", INSTALL_BCC, cache)
    problem = "; ".join(problems)
    return _for_compiling("bcc", problem, remedy_of(problem) or "mend that installation of bcc", cache)


def _for_compiling(name: str, problem: str, remedy: str, cache: str) -> Check:
    """What is missing only where the compiled program is not in a cache."""
    if cache:
        return Check(name, True, f"{problem}; not needed, as the compiled program is in {cache}")
    return Check(name, False, problem, remedy)


def unmet() -> Iterator[Check]:
    """What is missing of what is checked in a moment, before anything is loaded."""
    proc = check_proc()
    for check in (check_kernel(), proc, *((check_privileges(),) if proc.ok else ())):
        if not check.ok:
            yield check


def check_all(cache: str = "") -> list[Check]:
    """Every check but the loading of the program itself, in the order in which a user would mend them.

    `cache` is where the compiled program is, if it is in a cache.
    """
    proc = check_proc()
    of_process = [lambda: check_bcc(cache), check_privileges]
    if OLDEST_KERNEL <= kernel_version() < COUNTED_MEMORY_BEFORE:
        of_process.append(check_locked_memory)
    return [check_kernel(), proc, check_btf(cache=cache), *(check() for check in of_process if proc.ok)]
