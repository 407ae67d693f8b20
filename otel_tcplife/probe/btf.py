"""Where the members of kernel structs lie, read from the kernel's own BTF.

Format: Documentation/bpf/btf.rst. Only what the BPF program needs is decoded: member offsets and enumerators.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_STRUCT, _UNION, _ENUM = 4, 5, 6
# Words behind the three of struct btf_type, by kind: a fixed number, or a number for each of the type's vlen entries.
_FIXED_TAIL = {1: 1, 3: 3, 14: 1, 17: 1}
_ENTRY_TAIL = {_STRUCT: 3, _UNION: 3, _ENUM: 2, 13: 2, 15: 3, 19: 3}


class BtfError(Exception):
    """The kernel's type information is missing, unreadable, or lacks something the program needs."""


@dataclass(frozen=True, slots=True)
class _Entries:
    """The members of a struct or union, or the values of an enum: at which word they begin, and how many there are."""

    at: int
    count: int
    bitfields: bool


class Btf:
    """The types of one BTF blob."""

    def __init__(self, blob: bytes) -> None:
        """Raise BtfError if the blob is not little-endian BTF."""
        if len(blob) < _HEADER.size or _HEADER.unpack_from(blob)[0] != _MAGIC:
            raise BtfError("the kernel's BTF is not in the format of Documentation/bpf/btf.rst")
        _, _, _, header_length, types_at, types_length, strings_at, _ = _HEADER.unpack_from(blob)
        types_at += header_length
        self._blob = blob
        self._strings_at = header_length + strings_at
        self._words = memoryview(blob)[types_at : types_at + types_length].cast("I")
        self._composites: dict[int, _Entries] = {}
        """Structs and unions by name, as far as they have members."""
        self._nameless: dict[int, _Entries] = {}
        """Those without a name, by type id."""
        self._enums: dict[int, _Entries] = {}
        """By name."""
        self._read()

    def _read(self) -> None:
        """Find what there is in one pass; the kernel has more than 100,000 types."""
        words, at, type_id = self._words, 0, 0
        while at < len(words):
            info = words[at + 1]
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            type_id += 1
            if _STRUCT <= kind <= _ENUM:
                name, entries = words[at], _Entries(at + 3, count, bool(info >> 31))
                if kind == _ENUM:
                    self._enums.setdefault(name, entries)
                elif not name:
                    self._nameless[type_id] = entries
                elif count:
                    self._composites.setdefault(name, entries)
            at += 3 + _FIXED_TAIL.get(kind, 0) + _ENTRY_TAIL.get(kind, 0) * count

    def offsets(self, wanted: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], int]:
        """Byte offset of each wanted member, given as {struct name: member names}.

        Raise BtfError, naming it, if a struct or member is not there or does not begin at a whole byte.
        """
        found: dict[tuple[str, str], int] = {}
        for name, members in wanted.items():
            composite = self._composites.get(self._string_offset(name))
            for member in members:
                offset = composite and self._member_offset(composite, self._string_offset(member))
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
        entries, name_at = self._enums.get(self._string_offset(enum)), self._string_offset(name)
        for at in range(entries.at, entries.at + 2 * entries.count, 2) if entries else ():
            if self._words[at] == name_at:
                return ctypes.c_int32(self._words[at + 1]).value
        raise BtfError(f"this kernel's BTF has no enumerator {name} in enum {enum}")

    def _string_offset(self, text: str) -> int:
        """Offset of a name in the string section, or -1: names are compared by it, each is there once."""
        found = self._blob.find(b"\0" + text.encode() + b"\0", self._strings_at)
        return -1 if found < 0 else found + 1 - self._strings_at

    def _member_offset(self, composite: _Entries, member: int) -> int | None:
        """Offset in bits of a member of the composite or of a nameless struct or union within it."""
        for at in range(composite.at, composite.at + 3 * composite.count, 3):
            name, type_id, offset = self._words[at : at + 3]
            if composite.bitfields:
                offset &= 0xFFFFFF
            if name == member:
                return offset
            if not name and type_id in self._nameless:
                inner = self._member_offset(self._nameless[type_id], member)
                if inner is not None:
                    return offset + inner
        return None


def read_kernel_btf(path: Path = KERNEL_BTF) -> Btf:
    """The running kernel's BTF. Raise BtfError if the kernel was built without it."""
    try:
        return Btf(path.read_bytes())
    except OSError as error:
        raise BtfError(f"cannot read {path}: {error.strerror}") from error
