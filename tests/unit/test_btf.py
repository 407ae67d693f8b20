"""Offsets from BTF: the kernel's own, and a blob made by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from otel_tcplife.probe.btf import Btf, BtfError, read_kernel_btf

_INT, _STRUCT, _UNION, _ENUM = 1, 4, 5, 6


def _blob(types: bytes, names: list[str]) -> bytes:
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def _type(name: int, kind: int, entries: int, size: int, *tail: int, flag: int = 0) -> bytes:
    return struct.pack(f"<{3 + len(tail)}I", name, flag << 31 | kind << 24 | entries, size, *tail)


# Offsets of these in the string section
_NAMES = ["u32", "outer", "first", "inside", "deep", "flags", "states", "DONE", "LATE"]
_U32, _OUTER, _FIRST, _INSIDE, _DEEP, _FLAGS, _STATES, _DONE, _LATE = (
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
)
_BTF = Btf(_blob(_TYPES, _NAMES))


def test_members_of_nameless_structs_and_unions_lie_in_the_one_around_them() -> None:
    assert _BTF.offsets({"outer": ["first", "inside", "deep"]}) == {
        ("outer", "first"): 0,
        ("outer", "inside"): 12,
        ("outer", "deep"): 16,
    }


@pytest.mark.parametrize("wanted", [("outer", "missing"), ("absent", "first"), ("states", "DONE")])
def test_what_is_missing_is_named(wanted: tuple[str, str]) -> None:
    with pytest.raises(BtfError, match=r"no struct member {}\.{}".format(*wanted)):
        _BTF.offsets({wanted[0]: [wanted[1]]})


def test_a_bit_field_is_no_byte_offset() -> None:
    with pytest.raises(BtfError, match=r"outer\.flags is a bit field"):
        _BTF.offsets({"outer": ["flags"]})


def test_enumerators() -> None:
    assert (_BTF.enumerator("states", "DONE"), _BTF.enumerator("states", "LATE")) == (1, -1)
    with pytest.raises(BtfError, match="no enumerator NEVER in enum states"):
        _BTF.enumerator("states", "NEVER")


def test_the_running_kernel() -> None:
    offsets = read_kernel_btf().offsets({"sock_common": ["skc_daddr", "skc_rcv_saddr"]})
    assert offsets == {("sock_common", "skc_daddr"): 0, ("sock_common", "skc_rcv_saddr"): 4}


def test_what_is_no_btf(tmp_path: Path) -> None:
    with pytest.raises(BtfError, match="not in the format"):
        Btf(b"ELF" * 20)
    with pytest.raises(BtfError, match="No such file"):
        read_kernel_btf(tmp_path / "vmlinux")
