"""Where the members of kernel structs lie, read from the kernel's own BTF.

Format: Documentation/bpf/btf.rst. Only what the BPF program needs is decoded: member offsets and enumerators.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_STRUCT, _UNION, _ENUM = 4, 5, 6
# Bytes behind struct btf_type, by kind: a fixed number, or a number for each of the type's vlen entries.
_FIXED_TAIL = {1: 4, 3: 12, 14: 4, 17: 4}
_ENTRY_TAIL = {_STRUCT: 12, _UNION: 12, _ENUM: 8, 13: 8, 15: 12, 19: 12}


class BtfError(Exception):
    """The kernel's type information is missing, unreadable, or lacks something the program needs."""


@dataclass(frozen=True)
class _Composite:
    """A struct or union: where its member entries begin, and how many there are."""

    members_at: int
    count: int
    bitfields: bool


class Btf:
    """The types of one BTF blob."""

    def __init__(self, blob: bytes) -> None:
        """Raise BtfError if the blob is not little-endian BTF."""
        if len(blob) < _HEADER.size or _HEADER.unpack_from(blob)[0] != _MAGIC:
            raise BtfError("the kernel's BTF is not in the format of Documentation/bpf/btf.rst")
        _, _, _, header_length, types_at, types_length, strings_at, _ = _HEADER.unpack_from(blob)
        self._blob = blob
        self._strings_at = header_length + strings_at
        self._types_at = header_length + types_at
        self._types_end = self._types_at + types_length

    def offsets(self, wanted: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], int]:
        """Byte offset of each wanted member, given as {struct name: member names}.

        Raise BtfError, naming it, if a struct or member is not there or does not begin at a whole byte.
        """
        by_name, by_id = self._composites({self._string_offset(name): name for name in wanted})
        found: dict[tuple[str, str], int] = {}
        for name, members in wanted.items():
            for member in members:
                offset = None
                if name in by_name:
                    offset = self._member_offset(by_name[name], self._string_offset(member), by_id)
                if offset is None:
                    raise BtfError(f"this kernel's BTF has no struct member {name}.{member}")
                if offset % 8:
                    raise BtfError(f"struct member {name}.{member} is a bit field in this kernel")
                found[name, member] = offset // 8
        return found

    def has(self, struct: str, member: str) -> bool:
        """Whether there is such a struct member."""
        try:
            self.offsets({struct: [member]})
        except BtfError:
            return False
        return True

    def enumerator(self, enum: str, name: str) -> int:
        """Value of one enumerator. Raise BtfError, naming it, if it is not there."""
        enum_at, name_at = self._string_offset(enum), self._string_offset(name)
        for type_name, kind, _, count, tail in self._types():
            if kind == _ENUM and type_name == enum_at:
                for at in range(tail, tail + 8 * count, 8):
                    entry_name, value = struct.unpack_from("<Ii", self._blob, at)
                    if entry_name == name_at:
                        return value
        raise BtfError(f"this kernel's BTF has no enumerator {name} in enum {enum}")

    def _string_offset(self, text: str) -> int:
        """Offset of a name in the string section, or -1: names are compared by it, each is there once."""
        found = self._blob.find(b"\0" + text.encode() + b"\0", self._strings_at)
        return -1 if found < 0 else found + 1 - self._strings_at

    def _types(self) -> Iterable[tuple[int, int, int, int, int]]:
        """Each type in order of its id, from 1: name, kind, kind flag, number of entries, where its tail begins."""
        blob, at, end, unpack = self._blob, self._types_at, self._types_end, _TYPE.unpack_from
        fixed, entries, header = _FIXED_TAIL, _ENTRY_TAIL, _TYPE.size
        while at < end:
            name, info, _ = unpack(blob, at)
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            at += header
            yield name, kind, info >> 31, count, at
            at += fixed.get(kind, 0) + entries.get(kind, 0) * count

    def _composites(self, names: Mapping[int, str]) -> tuple[dict[str, _Composite], dict[int, _Composite]]:
        """The structs and unions of these names, and all nameless ones by type id."""
        by_name: dict[str, _Composite] = {}
        by_id: dict[int, _Composite] = {}
        for type_id, (name, kind, bitfields, count, tail) in enumerate(self._types(), start=1):
            if kind in (_STRUCT, _UNION):
                if not name:
                    by_id[type_id] = _Composite(tail, count, bool(bitfields))
                elif name in names and count:
                    by_name.setdefault(names[name], _Composite(tail, count, bool(bitfields)))
        return by_name, by_id

    def _member_offset(self, composite: _Composite, member: int, nameless: Mapping[int, _Composite]) -> int | None:
        """Offset in bits of a member of the composite or of a nameless struct or union within it."""
        for at in range(composite.members_at, composite.members_at + 12 * composite.count, 12):
            name, type_id, offset = _TYPE.unpack_from(self._blob, at)
            if composite.bitfields:
                offset &= 0xFFFFFF
            if name == member:
                return offset
            if not name and type_id in nameless:
                inner = self._member_offset(nameless[type_id], member, nameless)
                if inner is not None:
                    return offset + inner
        return None


def read_kernel_btf(path: Path = KERNEL_BTF) -> Btf:
    """The running kernel's BTF. Raise BtfError if the kernel was built without it."""
    try:
        return Btf(path.read_bytes())
    except OSError as error:
        raise BtfError(f"cannot read {path}: {error.strerror}") from error
