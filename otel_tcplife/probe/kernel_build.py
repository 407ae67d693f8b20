"""Which build of the kernel runs."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

from otel_tcplife.probe.btf import KERNEL_BTF

_NOTES = Path("/sys/kernel/notes")
_NOTE = struct.Struct("=III")
"""Sizes of name and description, and the type; both follow, each up to a multiple of 4 bytes (elf(5), Nhdr)."""
_BUILD_ID = (b"GNU\0", 3)
"""Name and type: NT_GNU_BUILD_ID."""


def kernel_build(notes: Path = _NOTES, btf: Path = KERNEL_BTF) -> list[str]:
    """What no other build has: names, and the build id or, where the kernel has none, a digest of its BTF.

    Raise OSError where neither can be read.
    """
    system = os.uname()
    return [system.machine, system.release, system.version, _build_id(notes) or _digest(btf)]


def _build_id(path: Path) -> str:
    """In hexadecimal; empty where there is none."""
    try:
        notes = path.read_bytes()
    except OSError:
        return ""
    at = 0
    while at + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, at)
        name_at = at + _NOTE.size
        description_at = name_at + _padded(name_size)
        if (notes[name_at : name_at + name_size], kind) == _BUILD_ID:
            return notes[description_at : description_at + size].hex()
        at = description_at + _padded(size)
    return ""


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
