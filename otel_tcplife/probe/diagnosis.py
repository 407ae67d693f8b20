"""What mends a refusal of the kernel, which has the same few errors for many causes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from otel_tcplife.probe.interpreters import DISTRIBUTION, this_interpreter
from otel_tcplife.probe.start_process import why_not_passed_on

RUN_AS_ROOT = "run as root, or with the capabilities CAP_BPF and CAP_PERFMON"
NOT_IN_USER_NAMESPACE = (
    "run it outside of the user namespace (rootless container, unshare --user), with privileges of the host"
)
MORE_LOCKED_MEMORY = (
    "raise the limit of locked memory, where maps count before 5.11 (ulimit -l, LimitMEMLOCK=infinity), "
    "or add CAP_SYS_RESOURCE"
)

_LIMITS = {
    errno.ENFILE: "raise the host's limit of open files (sysctl fs.file-max)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",  # its words are those that ENFILE's begin with
    errno.EAGAIN: "raise the limit of processes (ulimit -u)",
    errno.ENOMEM: "give it more memory (ulimit -v, ulimit -d, the memory limit of its cgroup)",
    errno.EFBIG: "raise the limit of the size of files (ulimit -f)",
}
_OUT_OF_MEMORY = ("MemoryError", "out of memory", "bad_alloc", "failed to map segment")
_REFUSALS = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS)
COUNTED_MEMORY_BEFORE = (5, 11)
"""The Linux that counts BPF maps against cgroups instead of RLIMIT_MEMLOCK."""


def remedy_of(problem: str, root: Path = Path("/")) -> str:
    """What mends a problem, told in the words of the system's errors; empty where that is not known.

    `root` is where /proc and /sys are.
    """
    for number, remedy in _LIMITS.items():
        if os.strerror(number) in problem:
            return remedy
    if any(words in problem for words in _OUT_OF_MEMORY):
        return _LIMITS[errno.ENOMEM]
    if any(os.strerror(number) in problem for number in _REFUSALS):
        return refusal(root)
    return ""


def refusal(root: Path = Path("/")) -> str:
    """What mends the first thing found that keeps bpf(2) from a process with the capabilities for it; or nothing."""
    if in_user_namespace(root):
        return NOT_IN_USER_NAMESPACE
    if not_passed_on := why_not_passed_on(this_interpreter() or DISTRIBUTION):
        return not_passed_on
    if _status(root).get("Seccomp", "0") == "2":
        return "have its seccomp filter let bpf(2) through (Docker and Podman: --security-opt seccomp=unconfined)"
    if "[confidentiality]" in _text(root / "sys/kernel/security/lockdown"):
        return "boot with lockdown=integrity or without lockdown: confidentiality lets no program read kernel memory"
    return MORE_LOCKED_MEMORY if kernel_version() < COUNTED_MEMORY_BEFORE else ""


def kernel_version() -> tuple[int, ...]:
    """The first two numbers of the kernel's release."""
    release = os.uname().release.split("-")[0].split(".")
    return tuple(int(number) for number in release[:2] if number.isdigit())


def in_user_namespace(root: Path = Path("/")) -> bool:
    """Whether the user ids of this process are not all those of the host (user_namespaces(7), uid_map)."""
    mapping = _text(root / "proc/self/uid_map").split()
    return bool(mapping) and mapping != ["0", "0", "4294967295"]


def _status(root: Path) -> dict[str, str]:
    lines = _text(root / "proc/self/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
