"""Offsets from BTF: the kernel's own, and a blob made by hand."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tcplife.probe.btf import Btf, BtfError, Member, NotInKernel, read_kernel_btf
from otel_tcplife.probe.requirements import btf_remedy

_INT, _STRUCT, _UNION, _ENUM, _TYPEDEF, _FUNC = 1, 4, 5, 6, 8, 12


def _blob(types: bytes, names: list[str]) -> bytes:
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def _type(name: int, kind: int, entries: int, size: int, *tail: int, flag: int = 0) -> bytes:
    return struct.pack(f"<{3 + len(tail)}I", name, flag << 31 | kind << 24 | entries, size, *tail)


# Offsets of these in the string section
_NAMES = [
    *("u32", "outer", "first", "inside", "deep", "flags", "states", "DONE", "LATE", "aligned", "old", "run"),
    "btf_trace_event",
]
_U32, _OUTER, _FIRST, _INSIDE, _DEEP, _FLAGS, _STATES, _DONE, _LATE, _ALIGNED, _OLD, _RUN, _EVENT = (
    1 + sum(len(name) + 1 for name in _NAMES[:at]) for at in range(len(_NAMES))
)
_TYPES = (
    _type(_U32, _INT, 0, 4, 32)  # type 1
    # A nameless union (2) with a member, and a nameless struct (3) that has it at bit 64
    + _type(0, _UNION, 1, 4, _DEEP, 1, 0)
    + _type(0, _STRUCT, 2, 12, _INSIDE, 1, 32, 0, 2, 64)
    # outer: first at 0, the nameless struct at byte 8, and a bit field (kind flag: size in the upper 8 bits) at bit 163
    + _type(_OUTER, _STRUCT, 3, 24, _FIRST, 1, 0, 0, 3, 64, _FLAGS, 1, 3 << 24 | 163, flag=1)
    + _type(_STATES, _ENUM, 2, 4, _DONE, 1, _LATE, 0xFFFFFFFF)
    # aligned (6): bit fields that begin at a whole byte, by their size; old (8): the same by their type (7), a byte of
    # which only 3 bits are meant
    + _type(_ALIGNED, _STRUCT, 2, 4, _FLAGS, 1, 8 << 24 | 8, _FIRST, 1, 16, flag=1)
    + _type(0, _INT, 0, 1, 3)
    + _type(_OLD, _STRUCT, 2, 4, _FLAGS, 7, 8, _FIRST, 1, 0)
    + _type(_RUN, _FUNC, 0, 1)  # type 9
    + _type(_EVENT, _TYPEDEF, 0, 1)  # type 10
)
_BTF = Btf(_blob(_TYPES, _NAMES))


def test_members_of_nameless_structs_and_unions_lie_in_the_one_around_them() -> None:
    assert _BTF.members({"outer": ["first", "inside", "deep"]}) == {
        ("outer", "first"): Member(0, 4),
        ("outer", "inside"): Member(12, 4),
        ("outer", "deep"): Member(16, 4),
    }


@pytest.mark.parametrize("wanted", [("outer", "missing"), ("absent", "first"), ("states", "DONE")])
def test_what_is_missing_is_named(wanted: tuple[str, str]) -> None:
    with pytest.raises(BtfError, match=r"no struct member {}\.{}".format(*wanted)):
        _BTF.members({wanted[0]: [wanted[1]]})


@pytest.mark.parametrize("struct_", ["outer", "aligned", "old"])
def test_a_bit_field_is_refused_by_name_wherever_it_begins(struct_: str) -> None:
    with pytest.raises(BtfError, match=rf"{struct_}\.flags is a bit field"):
        _BTF.members({struct_: ["flags"]})
    assert _BTF.members({struct_: ["first"]})


def test_functions() -> None:
    assert _BTF.function_id("run") == 9
    with pytest.raises(BtfError, match="no function walk"):
        _BTF.function_id("walk")


def test_tracepoints() -> None:
    assert _BTF.tracepoint_id("event") == 10
    for no_tracepoint in ("run", "btf_trace_event", "states"):
        with pytest.raises(BtfError, match=f"no tracepoint {no_tracepoint}"):
            _BTF.tracepoint_id(no_tracepoint)


_BLOB = _blob(_TYPES, _NAMES)


def _looked_up(blob: bytes) -> None:
    """Everything that there is to look up, each by itself."""
    try:
        btf = Btf(blob)
    except BtfError:
        return
    for struct_, member in [("outer", "deep"), ("outer", "inside"), ("old", "first"), ("aligned", "flags")]:
        with suppress(BtfError):
            btf.members({struct_: [member]})
    with suppress(BtfError):
        btf.enumerator("states", "NEVER")
    with suppress(BtfError):
        btf.function_id("run")
    with suppress(BtfError):
        btf.tracepoint_id("event")


@pytest.mark.parametrize("length", range(len(_BLOB)))
def test_what_is_cut_off_is_a_btf_error(length: int) -> None:
    _looked_up(_BLOB[:length])


@given(changes=st.lists(st.tuples(st.integers(0, len(_BLOB) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_what_is_overwritten_is_a_btf_error(changes: list[tuple[int, int]]) -> None:
    blob = bytearray(_BLOB)
    for at, byte in changes:
        blob[at] = byte
    _looked_up(bytes(blob))


def test_a_nameless_struct_within_itself_ends() -> None:
    types = _type(0, _STRUCT, 1, 4, 0, 1, 0) + _type(_OUTER, _STRUCT, 1, 4, 0, 1, 0)
    with pytest.raises(BtfError, match="no struct member"):
        Btf(_blob(types, _NAMES)).members({"outer": ["first"]})


def test_enumerators() -> None:
    assert (_BTF.enumerator("states", "DONE"), _BTF.enumerator("states", "LATE")) == (1, -1)
    with pytest.raises(BtfError, match="no enumerator NEVER in enum states"):
        _BTF.enumerator("states", "NEVER")


def test_the_running_kernel() -> None:
    members = read_kernel_btf().members(
        {"sock_common": ["skc_daddr", "skc_rcv_saddr", "skc_net"], "tcp_sock": ["rtt_min"], "task_struct": ["comm"]}
    )
    assert members["sock_common", "skc_daddr"] == Member(0, 4)
    assert members["sock_common", "skc_rcv_saddr"] == Member(4, 4)
    widths = {name: member.width for (_, name), member in members.items()}
    assert widths == {"skc_daddr": 4, "skc_rcv_saddr": 4, "skc_net": 8, "rtt_min": 24, "comm": 16}


def test_what_is_no_btf(tmp_path: Path) -> None:
    with pytest.raises(BtfError, match="not in the format"):
        Btf(b"ELF" * 20)
    with pytest.raises(BtfError, match="No such file"):
        read_kernel_btf(tmp_path / "vmlinux")


def test_who_has_btf_is_not_told_to_get_it_where_the_kernel_lacks_something() -> None:
    with pytest.raises(NotInKernel) as lacking:
        _BTF.function_id("walk")
    assert btf_remedy(lacking.value).startswith("please report this, with the name of the kernel, ")
    with pytest.raises(BtfError) as damaged:
        Btf(b"")
    assert "CONFIG_DEBUG_INFO_BTF" in btf_remedy(damaged.value)
