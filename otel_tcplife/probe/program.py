"""The C text that bcc compiles: bpf/tcplife.bpf.c, the facts of this kernel and the user's filters before it."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from otel_tcplife.options import Filters, Scope, Sizes
from otel_tcplife.probe.btf import Btf
from otel_tcplife.session import EXECUTABLE_SIZE, SESSION, offset_of

CGROUP_PATH_SIZE = 256
"""Longer ones are cut; those of Kubernetes have up to 200 bytes."""

SCAN = "bpf_iter__task_file"
"""The function of the program that iterates over open files, and what it iterates in the kernel."""
SCAN_TARGET = "bpf_iter_task_file"

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

_MEMBER = re.compile(r"\b([A-Z]+(?:_[A-Z]+)*)_([a-z]\w*)\b")
_CONDITION = re.compile(r"^#(?:el)?if.*$", re.MULTILINE)
_SOCK_FLAGS = ("SOCK_DEAD", "SOCK_DONE")
_NESTED = {
    "ends": ("local_address", "peer_address", "local_port", "peer_port"),
    "owner": ("pid", "comm", "executable"),
}


def bpf_directory() -> Path:
    """Where the C program lies: within the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "bpf"
    return installed if installed.is_dir() else package.parent / "bpf"


def program_text(
    btf: Btf, filters: Filters, sizes: Sizes, scope: Scope, *, interim: float, hide_own: bool, cpus: int
) -> str:
    """The whole program; `interim` in seconds, 0 for no interim reports.

    Raise BtfError, naming it, if this kernel lacks a struct member that the program reads.
    """
    source = (bpf_directory() / "tcplife.bpf.c").read_text()
    macros = {**_offsets(source, btf), **_sizes(sizes, cpus), **_selection(filters), **_agent()}
    macros["SCOPE_PROCESS"] = str(int(scope is Scope.PROCESS))
    macros["HIDE_OWN"] = str(int(hide_own))
    macros["INTERIM"] = f"{int(interim * 1e9)}ULL"
    defines = [f"#define {name} {value}" for name, value in macros.items()]
    return "\n".join([*defines, '#line 1 "tcplife.bpf.c"', source, *_layout_assertions()])


def _offsets(source: str, btf: Btf) -> dict[str, str]:
    """A macro for each member that the source names: TCP_SOCK_srtt_us is srtt_us of struct tcp_sock.

    One that a condition of the preprocessor names may be missing.
    """
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for struct, member in _MEMBER.findall(source):
        wanted[struct.lower()].add(member)
    for struct, member in _MEMBER.findall("\n".join(_CONDITION.findall(source))):
        if not btf.has(struct.lower(), member):
            wanted[struct.lower()].discard(member)
    offsets = btf.offsets(wanted)
    macros = {f"{struct.upper()}_{member}": str(offset) for (struct, member), offset in offsets.items()}
    return {**macros, **{flag: str(btf.enumerator("sock_flags", flag)) for flag in _SOCK_FLAGS}}


def _sizes(sizes: Sizes, cpus: int) -> dict[str, str]:
    return {
        "EXECUTABLE_SIZE": str(EXECUTABLE_SIZE),
        "PAGE_SIZE": str(PAGE_SIZE),
        "RING_PAGES": str(sizes.ring_bytes // PAGE_SIZE),
        "FLOWS_SIZE": str(sizes.flows),
        "UNCLAIMED_SIZE": str(sizes.unclaimed),
        "CPUS": str(cpus),
        "CGROUP_PATH_SIZE": str(CGROUP_PATH_SIZE),
    }


def _selection(filters: Filters) -> dict[str, str]:
    return {
        "SELECT_PID(pid)": _one_of("pid", () if filters.pid is None else (filters.pid,)),
        "SELECT_IP_VERSION(version)": _one_of("version", () if filters.ip_version is None else (filters.ip_version,)),
        "SELECT_LOCAL_PORT(port)": _one_of("port", filters.local_ports),
        "SELECT_PEER_PORT(port)": _one_of("port", filters.peer_ports),
    }


def _one_of(name: str, values: Iterable[int]) -> str:
    """A C expression that is true where the named value is one of these, or where there are none."""
    return "(" + (" || ".join(f"({name}) == {value}" for value in values) or "true") + ")"


def _agent() -> dict[str, str]:
    """How the program knows this process, by the pid that its own PID namespace gives it."""
    namespace = os.stat("/proc/self/ns/pid")
    return {
        "AGENT_PID": str(os.getpid()),
        "PIDNS_DEVICE": str(namespace.st_dev),
        "PIDNS_INODE": str(namespace.st_ino),
    }


def _layout_assertions() -> Iterable[str]:
    """That struct session is laid out as the dtype, field by field: the ring is read without any conversion."""
    member = {name: f"{outer}.{name}" for outer, names in _NESTED.items() for name in names}
    for name in SESSION.names or ():
        offset = offset_of(name)
        path = member.get(name, name)
        yield f'_Static_assert(__builtin_offsetof(struct session, {path}) == {offset}, "session.py: {name}");'
    yield f'_Static_assert(sizeof(struct session) == {SESSION.itemsize}, "session.py: itemsize");'
