"""Where the members of kernel structs lie, read from the kernel's own BTF.

Format: Documentation/bpf/btf.rst. Only what the BPF program needs is decoded: offsets and widths of members,
enumerators, and the ids of functions.
"""

from __future__ import annotations

import ctypes
import struct
from array import array
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_INT, _POINTER, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF, _FUNC, _ENUM64 = 1, 2, 3, 4, 5, 6, 8, 12, 19
_SIZED = (_INT, _STRUCT, _UNION, _ENUM, _ENUM64)
_POINTER_SIZE = 8
_MODIFIERS = (8, 9, 10, 11, 18)
"""Typedef, volatile, const, restrict and type tag: as wide as what they are of."""
# Words behind the three of struct btf_type, by kind: a fixed number, or a number for each of the type's vlen entries.
_FIXED_TAIL = {_INT: 1, _ARRAY: 3, 14: 1, 17: 1}
_ENTRY_TAIL = {_STRUCT: 3, _UNION: 3, _ENUM: 2, 13: 2, 15: 3, _ENUM64: 3}


_DEEPEST = 32
"""How many types may lead to one that has a size: arrays, typedefs and the like of each other."""


class BtfError(Exception):
    """The kernel's type information is missing, unreadable, or lacks something the program needs."""


class NotInKernel(BtfError):
    """The type information is all right, and the kernel does not have what the program needs."""


@dataclass(frozen=True, slots=True)
class _Entries:
    """The members of a struct or union, or the values of an enum: at which word they begin, and how many there are."""

    at: int
    count: int
    has_sizes: bool
    """Whether the offset of each member has its size as a bit field in the upper 8 bits, 0 for none (kind_flag)."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member of a struct begins, and how wide it is, in bytes."""

    offset: int
    width: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a member begins, in bits, of what type it is, and whether it is a bit field."""

    offset: int
    type_id: int
    is_bit_field: bool


class Btf:
    """The types of one BTF blob."""

    def __init__(self, blob: bytes) -> None:
        """Raise BtfError if the blob is not little-endian BTF, or is damaged."""
        if len(blob) < _HEADER.size or _HEADER.unpack_from(blob)[0] != _MAGIC:
            raise BtfError("the kernel's BTF is not in the format of Documentation/bpf/btf.rst")
        _, _, _, header_length, types_at, types_length, strings_at, _ = _HEADER.unpack_from(blob)
        types_at += header_length
        self._blob = blob
        self._strings_at = header_length + strings_at
        self._types = array("I")
        """At which word each type begins; that with the id 1 comes first."""
        self._composites: dict[int, _Entries] = {}
        """Structs and unions by name, as far as they have members."""
        self._nameless: dict[int, _Entries] = {}
        """Those without a name, by type id."""
        self._enums: dict[int, _Entries] = {}
        """By name."""
        self._functions: dict[int, int] = {}
        """Type ids by name."""
        self._typedefs: dict[int, int] = {}
        """Likewise."""
        self._bit_field_types: set[int] = set()
        """Integers of fewer bits than their bytes have, which older compilers gave bit fields as a type."""
        with _damage_named():
            self._words = memoryview(blob)[types_at : types_at + types_length].cast("I")
            self._read()

    def _read(self) -> None:
        """Find what there is in one pass; the kernel has more than 100,000 types."""
        words, at, type_id = self._words, 0, 0
        while at < len(words):
            info = words[at + 1]
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            type_id += 1
            self._types.append(at)
            if _STRUCT <= kind <= _ENUM:
                name, entries = words[at], _Entries(at + 3, count, bool(info >> 31))
                if kind == _ENUM:
                    self._enums.setdefault(name, entries)
                elif not name:
                    self._nameless[type_id] = entries
                elif count:
                    self._composites.setdefault(name, entries)
            elif kind == _INT:
                if words[at + 3] & 0xFF00FF != 8 * words[at + 2]:  # bits, and where they begin
                    self._bit_field_types.add(type_id)
            elif kind == _FUNC:
                self._functions.setdefault(words[at], type_id)
            elif kind == _TYPEDEF:
                self._typedefs.setdefault(words[at], type_id)
            at += 3 + _FIXED_TAIL.get(kind, 0) + _ENTRY_TAIL.get(kind, 0) * count

    def members(self, wanted: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], Member]:
        """Each wanted member, given as {struct name: member names}.

        Raise BtfError, naming it, if a struct or member is not there, or is a bit field: bytes are read, not bits.
        """
        found: dict[tuple[str, str], Member] = {}
        for name, members in wanted.items():
            for member in members:
                with _damage_named():
                    place = self._place(name, member)
                    width = self._width(place.type_id) if place else 0
                if place is None:
                    raise NotInKernel(f"this kernel's BTF has no struct member {name}.{member}")
                if place.is_bit_field or place.offset % 8:
                    raise NotInKernel(f"struct member {name}.{member} is a bit field in this kernel")
                found[name, member] = Member(place.offset // 8, width)
        return found

    def has(self, struct: str, member: str) -> bool:
        """Whether there is such a struct member."""
        try:
            self.members({struct: [member]})
        except BtfError:
            return False
        return True

    def function_id(self, name: str) -> int:
        """Type id of a function. Raise BtfError, naming it, if it is not there."""
        try:
            return self._functions[self._string_offset(name)]
        except KeyError:
            raise NotInKernel(f"this kernel's BTF has no function {name}") from None

    def tracepoint_id(self, name: str) -> int:
        """Type id of what a tracepoint calls (include/trace/bpf_probe.h). Raise BtfError if it is not there."""
        try:
            return self._typedefs[self._string_offset(f"btf_trace_{name}")]
        except KeyError:
            raise NotInKernel(f"this kernel's BTF has no tracepoint {name}") from None

    def enumerator(self, enum: str, name: str) -> int:
        """Value of one enumerator. Raise BtfError, naming it, if it is not there."""
        entries, name_at = self._enums.get(self._string_offset(enum)), self._string_offset(name)
        with _damage_named():
            for at in range(entries.at, entries.at + 2 * entries.count, 2) if entries else ():
                if self._words[at] == name_at:
                    return ctypes.c_int32(self._words[at + 1]).value
        raise NotInKernel(f"this kernel's BTF has no enumerator {name} in enum {enum}")

    def _string_offset(self, text: str) -> int:
        """Offset of a name in the string section, or -1: names are compared by it, each is there once."""
        found = self._blob.find(b"\0" + text.encode() + b"\0", self._strings_at)
        return -1 if found < 0 else found + 1 - self._strings_at

    def _place(self, struct: str, member: str) -> _Place | None:
        composite = self._composites.get(self._string_offset(struct))
        return self._find(composite, self._string_offset(member), set()) if composite else None

    def _find(self, composite: _Entries, member: int, searched: set[int]) -> _Place | None:
        """The member of the composite, or of a nameless struct or union within it that was not searched yet."""
        for at in range(composite.at, composite.at + 3 * composite.count, 3):
            name, type_id, offset = self._words[at : at + 3]
            size = offset >> 24 if composite.has_sizes else 0
            offset = offset & 0xFFFFFF if composite.has_sizes else offset
            if name == member:
                return _Place(offset, type_id, bool(size) or type_id in self._bit_field_types)
            if not name and type_id in self._nameless and type_id not in searched:
                searched.add(type_id)
                inner = self._find(self._nameless[type_id], member, searched)
                if inner is not None:
                    return _Place(offset + inner.offset, inner.type_id, inner.is_bit_field)
        return None

    def _width(self, type_id: int) -> int:
        """Bytes of a type, 0 where it has none."""
        count = 1
        for _ in range(_DEEPEST):
            if not type_id:  # void
                return 0
            at = self._types[type_id - 1]
            kind = self._words[at + 1] >> 24 & 0x1F
            if kind in _SIZED:
                return count * self._words[at + 2]
            if kind == _POINTER:
                return count * _POINTER_SIZE
            if kind == _ARRAY:
                type_id, count = self._words[at + 3], count * self._words[at + 5]
            elif kind in _MODIFIERS:
                type_id = self._words[at + 2]
            else:
                return 0
        raise ValueError("a type of itself")


@contextmanager
def _damage_named() -> Generator[None]:
    """What BTF that is cut off or overwritten leads to, such as places outside of it, as the BtfError that it is."""
    try:
        yield
    except (IndexError, TypeError, ValueError, RecursionError) as error:
        raise BtfError("the kernel's BTF is damaged") from error


def read_kernel_btf(path: Path = KERNEL_BTF) -> Btf:
    """The running kernel's BTF. Raise BtfError if the kernel was built without it."""
    try:
        return Btf(path.read_bytes())
    except OSError as error:
        raise BtfError(f"cannot read {path}: {error.strerror}") from error
