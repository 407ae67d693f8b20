"""The C text that bcc compiles: bpf/tcplife.bpf.c with all that it includes, and before it the facts of this kernel, of
otel_tcplife, and of what the user chose.
"""

from __future__ import annotations

import mmap
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from enum import IntEnum
from pathlib import Path

from otel_tcplife.options import MAX_LISTENERS, MAX_TRACED_PROCESSES, Filters, Options, Scope, Sizes
from otel_tcplife.probe.btf import Btf, Member, NotInKernel
from otel_tcplife.probe.counters import COUNTERS_OF_A_CPU, Counter
from otel_tcplife.probe.ring import record_of
from otel_tcplife.session import (
    COMM_SIZE,
    EXECUTABLE_SIZE,
    SESSION,
    SESSION_IN_SPAN,
    UNKNOWN,
    UNKNOWN_TIME,
    CloseReason,
    Event,
    OwnerSource,
    Role,
    offset_of,
)

CGROUP_PATH_SIZE = 256
"""Longer ones are cut; those of Kubernetes have up to 200 bytes."""

SCAN = "bpf_iter__task_file"
"""The function of the program that iterates over open files, and what it iterates in the kernel."""
SCAN_TARGET = "bpf_iter_task_file"

HOOK_PREFIX = "hook__"

_MAIN = "tcplife.bpf.c"
_INCLUDE = re.compile(r'#include "(\w+\.h)"')

_HOOK = re.compile(r"^RAW_TRACEPOINT_PROBE\((\w+)\)", re.MULTILINE)
_MAP = re.compile(r"^BPF_(?:\w*TABLE\(\"\w+\", [^,]+, [^,]+, |(?:HASH|ARRAY|RINGBUF_OUTPUT)\()(\w+)", re.MULTILINE)
_STRUCT_TEXT = re.compile(r"^struct \w+ \{$.*?^\};$", re.MULTILINE | re.DOTALL)

_STRUCT = r"[A-Z]+(?:_[A-Z]+)*"
_MEMBER = re.compile(rf"\b(?!TYPE_|HELPER_)({_STRUCT})_([a-z]\w*)\b")
_CONDITION = re.compile(r"^#(?:el)?if.*$", re.MULTILINE)
_READ = re.compile(rf"\bREAD(?:_AT)?\([^;]*?, ({_STRUCT})_([a-z]\w*)\)")
_TYPES = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
_SOCK_FLAGS = ("SOCK_DEAD", "SOCK_DONE")
_HELPERS_OF_TYPED_POINTERS = ("skc_to_tcp_sock", "get_current_task_btf")

_ENUMS: Mapping[str, type[IntEnum]] = {
    "EVENT": Event,
    "ROLE": Role,
    "OWNER_SOURCE": OwnerSource,
    "CLOSE_REASON": CloseReason,
    "COUNTER": Counter,
}
_NESTED = {
    "ends": ("local_address", "peer_address", "local_port", "peer_port"),
    "owner": ("created_at", "pid", "parent_pid", "vpid", "effective_uid", "real_uid", "comm", "executable"),
}
"""Where the columns of a row lie that are members of a struct within struct session."""


def bpf_directory() -> Path:
    """Where the C program lies: within the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "bpf"
    return installed if installed.is_dir() else package.parent / "bpf"


def text_here(chosen: str, btf: Btf, *, typed_pointers: bool) -> str:
    """The chosen text, with what it needs of this kernel before it; with typed pointers, see bpf/kernel.h, or without.

    Raise NotInKernel, naming it, if this kernel lacks a struct member that the program reads, or has it in a width
    that no integer has.
    """
    macros = {**_members(chosen, btf), "TYPED_POINTERS": str(int(typed_pointers))}
    if typed_pointers:
        macros |= {f"HELPER_{name}": str(_helper(name, btf)) for name in _HELPERS_OF_TYPED_POINTERS}
    return "\n".join([*_defines(macros), chosen])


def can_have_typed_pointers(btf: Btf) -> bool:
    """Whether the kernel has all that a program with typed pointers needs: since Linux 5.15.

    Before, the cgroup of a socket lies in an integer.
    """
    try:
        return all(_helper(name, btf) for name in _HELPERS_OF_TYPED_POINTERS) and not btf.has("sock_cgroup_data", "val")
    except NotInKernel:
        return False


def _helper(name: str, btf: Btf) -> int:
    """Number of a function of the kernel that programs may call."""
    return btf.enumerator("bpf_func_id", f"BPF_FUNC_{name}")


def chosen_text(options: Options, *, cpus: int, hide_tracer: bool = True, has_announcements: bool = False) -> str:
    """The program without what it needs of the kernel's BTF: it is the same whenever it is for the same kernel.

    `hide_tracer` leaves out the connections of the tracer. With `has_announcements`, an application says something of
    the connections that it makes, see connecting.h; only then does it say in which span.
    """
    macros = {**_enumerators(), **_sizes(options.sizes, cpus), **_selection(options.filters)}
    macros["SCOPE_PROCESS"] = str(int(options.scope is Scope.PROCESS))
    macros["HIDE_TRACER"] = str(int(hide_tracer))
    macros["CONNECTS_ANNOUNCED"] = str(int(has_announcements))
    macros["TRACE_CONTEXT"] = str(int(has_announcements and options.trace_context))
    macros["INTERIM"] = f"{int(options.interim * 1e9)}ULL"
    return "\n".join([*_defines(macros), _spliced(), *_layout_assertions()])


def layout_text(cpus: int) -> str:
    """What the maps hold, of this version: the structs of the program with their comments, and the numbers in them."""
    return "\n".join([*_defines({**_enumerators(), **_fixed_sizes(cpus)}), *_STRUCT_TEXT.findall(_spliced())])


def hook_names(text: str) -> list[str]:
    """The raw tracepoints that a program has hooks for; some of them not of every kernel."""
    return list(dict.fromkeys(_HOOK.findall(text)))


def map_names(text: str) -> list[str]:
    """The maps of a program; some of them not of every kernel and every choice."""
    return list(dict.fromkeys(_MAP.findall(text)))


def with_flows_before(text: str) -> str:
    """The program that also has the flows of one that it replaces, in a map of another size."""
    return f"#define FLOWS_BEFORE 1\n{text}"


def text_for_compiler(text: str, *, hooks: bool, scan: bool) -> str:
    """The program with the hooks, the scan or both as functions that bcc neither loads nor attaches: we do."""
    linkage = {True: "", False: "static inline "}  # of the latter, nobody calls it, and the compiler leaves it out
    macros = {
        "RAW_TRACEPOINT_PROBE(event)": f"{linkage[hooks]}int {HOOK_PREFIX}##event(struct bpf_raw_tracepoint_args *ctx)",
        "BPF_ITER(target)": f"{linkage[scan]}int bpf_iter__##target(struct bpf_iter__##target *ctx)",
    }
    return "\n".join([*_defines(macros), text])


def _defines(macros: Mapping[str, str]) -> list[str]:
    return [f"#define {name} {value}" for name, value in macros.items()]


def _spliced() -> str:
    """The main file with each file that it includes in its place, each line said to be where it is written."""
    directory = bpf_directory()
    lines = [f'#line 1 "{_MAIN}"']
    for number, line in enumerate((directory / _MAIN).read_text().splitlines(), start=1):
        if included := _INCLUDE.fullmatch(line):
            name = included[1]
            lines += [f'#line 1 "{name}"', (directory / name).read_text(), f'#line {number + 1} "{_MAIN}"']
        else:
            lines.append(line)
    return "\n".join(lines)


def _members(source: str, btf: Btf) -> dict[str, str]:
    """Macros for each member that the source names: TCP_SOCK_srtt_us is where srtt_us of struct tcp_sock begins, and
    TYPE_TCP_SOCK_srtt_us an integer as wide as it. One that a condition of the preprocessor names may be missing.
    """
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for struct, member in _MEMBER.findall(source):
        wanted[struct.lower()].add(member)
    for struct, member in _MEMBER.findall("\n".join(_CONDITION.findall(source))):
        if not btf.has(struct.lower(), member):
            wanted[struct.lower()].discard(member)
    members = btf.members(wanted)
    _check_widths(source, members)
    macros: dict[str, str] = {}
    for (struct, name), member in members.items():
        macros[f"{struct.upper()}_{name}"] = str(member.offset)
        if member.width in _TYPES:
            macros[f"TYPE_{struct.upper()}_{name}"] = _TYPES[member.width]
    return {**macros, **{flag: str(btf.enumerator("sock_flags", flag)) for flag in _SOCK_FLAGS}}


def _check_widths(source: str, members: Mapping[tuple[str, str], Member]) -> None:
    for struct, name in _READ.findall(source):
        member = members.get((struct.lower(), name))
        if member and member.width not in _TYPES:
            raise NotInKernel(f"struct member {struct.lower()}.{name} is no integer in this kernel")


def _enumerators() -> dict[str, str]:
    """The values and the sizes that user space and the program share."""
    values = {f"{prefix}_{each.name}": str(each.value) for prefix, enum in _ENUMS.items() for each in enum}
    return {**values, "UNKNOWN": f"{UNKNOWN}U", "UNKNOWN_TIME": f"{UNKNOWN_TIME}ULL"}


def _sizes(sizes: Sizes, cpus: int) -> dict[str, str]:
    return {
        **_fixed_sizes(cpus),
        "PAGE_SIZE": str(mmap.PAGESIZE),  # for the ring, which bcc's macro makes of pages
        **{name.upper(): str(size) for name, size in asdict(sizes).items()},
        "WAKEUP_EVERY": str(_wakeup_every(sizes.ring_bytes, cpus)),
        "TRACED_SIZE": str(MAX_TRACED_PROCESSES),
        "LISTENERS_SIZE": str(MAX_LISTENERS),
    }


def _wakeup_every(ring_bytes: int, cpus: int) -> int:
    """The power of two up to which all CPUs together fill half of the ring."""
    rows = ring_bytes // 2 // record_of(SESSION_IN_SPAN).itemsize // cpus
    return 1 << max(rows.bit_length() - 1, 0)


def _fixed_sizes(cpus: int) -> dict[str, str]:
    """Those of the structs in the maps."""
    return {
        "COMM_SIZE": str(COMM_SIZE),
        "EXECUTABLE_SIZE": str(EXECUTABLE_SIZE),
        "CPUS": str(cpus),
        "COUNTERS_OF_A_CPU": str(COUNTERS_OF_A_CPU),
        "CGROUP_PATH_SIZE": str(CGROUP_PATH_SIZE),
    }


def _selection(filters: Filters) -> dict[str, str]:
    """For each filter a macro of its name, in the singular as it is asked of one: SELECT_LOCAL_PORT(port)."""
    macros: dict[str, str] = {}
    for each in fields(filters):
        chosen: int | tuple[range, ...] | None = getattr(filters, each.name)
        if isinstance(chosen, bool):
            chosen = None if chosen else 0  # all of them, or those of which it is not true
        of_one = each.name.removesuffix("s")
        value = of_one.rpartition("_")[2]
        macros[f"SELECT_{of_one.upper()}({value})"] = _one_of(value, chosen)
    return macros


def _one_of(name: str, chosen: int | tuple[range, ...] | None) -> str:
    """A C expression that is true where the named value is one of the chosen ones, or where none is chosen."""
    ranges = () if chosen is None else (range(chosen, chosen + 1),) if isinstance(chosen, int) else chosen
    return "(" + (" || ".join(_within(name, each) for each in ranges) or "true") + ")"


def _within(name: str, values: range) -> str:
    if len(values) == 1:
        return f"({name}) == {values[0]}"
    return f"(({name}) >= {values[0]} && ({name}) <= {values[-1]})"


def _layout_assertions() -> Iterable[str]:
    """That struct session is laid out as the dtype, field by field: the ring is read without any conversion."""
    member = {name: f"{outer}.{name}" for outer, names in _NESTED.items() for name in names}
    for name in SESSION.names or ():
        offset = offset_of(name)
        path = member.get(name, name)
        yield f'_Static_assert(__builtin_offsetof(struct session, {path}) == {offset}, "session.py: {name}");'
    yield f'_Static_assert(sizeof(struct session) == {SESSION.itemsize}, "session.py: itemsize");'
    for name in (SESSION_IN_SPAN.names or ())[len(SESSION.names or ()) :]:
        offset, place = offset_of(name, SESSION_IN_SPAN), f"struct session_in_span, span.{name}"
        yield f'_Static_assert(__builtin_offsetof({place}) == {offset}, "session.py: {name}");'
