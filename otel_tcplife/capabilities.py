"""The capabilities of a thread (capabilities(7)): what it has, and how it changes its own.

They are those of one thread, not of a process: capset(2) and prctl(2) change the thread that calls them, and glibc does
not repeat that in the others, as it does for uids. A child has those of the thread that forks it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple


class Capability(IntEnum):
    """Those that have to do with tracing, as bits of a set (include/uapi/linux/capability.h)."""

    DAC_READ_SEARCH = 1 << 2
    SYS_ADMIN = 1 << 21
    SYS_RESOURCE = 1 << 24
    PERFMON = 1 << 38
    BPF = 1 << 39


LOADING = Capability.BPF | Capability.PERFMON
"""What loading and attaching a tracing program takes. SYS_ADMIN stands for both of them."""

THIS_THREAD = Path("/proc/thread-self/status")
"""All may read it, also where the process is not dumpable, and most of its files in /proc are therefore root's."""

_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2

_libc = ctypes.CDLL(None, use_errno=True)


class ThreadCapabilities(NamedTuple):
    """The sets of a thread, as bits, and what keeps it from changing them."""

    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int
    no_new_privs: bool
    """What it executes gives it no more, also not by the capabilities of a file."""
    is_filtered: bool
    """By seccomp, which may refuse any system call."""


def capabilities_of(status: Path = THIS_THREAD) -> ThreadCapabilities:
    """Those of a thread, from its file in /proc (proc_pid_status(5)). Raise OSError where there is no /proc."""
    lines = status.read_text(errors="replace").splitlines()
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    inheritable, permitted, effective, bounding, ambient = (
        int(fields[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")
    )
    no_new_privs, is_filtered = fields["NoNewPrivs"] == "1", fields.get("Seccomp") == "2"
    return ThreadCapabilities(inheritable, permitted, effective, bounding, ambient, no_new_privs, is_filtered)


def set_capabilities(*, permitted: int, effective: int, inheritable: int = 0) -> None:
    """Those of this thread (capset(2)), each of the lower 32 bits first. Raise OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = ([each >> shift & 2**32 - 1 for each in (effective, permitted, inheritable)] for shift in (0, 32))
    if _libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(*low, *high))):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def ambient(capabilities: int) -> Generator[None]:
    """Have what this thread executes keep them, whatever its file has; they have to be permitted. Raise OSError."""
    own = capabilities_of()
    try:
        inheritable = own.inheritable | capabilities
        set_capabilities(permitted=own.permitted, effective=own.effective, inheritable=inheritable)
        for number in range(capabilities.bit_length()):
            if capabilities >> number & 1:
                prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)
        yield
    finally:
        with suppress(OSError):  # what is not inheritable is not ambient either
            set_capabilities(permitted=own.permitted, effective=own.effective, inheritable=own.inheritable)


def prctl(option: int, *arguments: int) -> int:
    """Return what it says, if that is not an error (prctl(2)). Raise OSError."""
    values = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = _libc.prctl(option, *values)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _try_calls() -> None:
    """Change nothing by the calls that change something, to see whether a seccomp filter kills who makes them."""
    own = capabilities_of()
    for call in (
        lambda: set_capabilities(permitted=own.permitted, effective=own.effective, inheritable=own.inheritable),
        lambda: prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, Capability.BPF.bit_length() - 1),
    ):
        with suppress(OSError):
            call()


if __name__ == "__main__":
    _try_calls()
