"""A build of the kernel is told from others by its build id, or else by its type information."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from otel_tcplife.probe.kernel_build import kernel_build


def _note(name: bytes, kind: int, description: bytes) -> bytes:
    padded = [part + bytes(-len(part) % 4) for part in (name, description)]
    return struct.pack("=III", len(name), len(description), kind) + b"".join(padded)


_ID = bytes(range(20))
_OTHERS = _note(b"Linux\0", 257, b"\0") + _note(b"Xen\0", 3, b"12345")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Where the notes and the BTF are."""
    btf = tmp_path / "vmlinux"
    btf.write_bytes(b"types")
    return tmp_path / "notes", btf


def test_the_build_id_is_found_among_other_notes(files: tuple[Path, Path]) -> None:
    notes, _ = files
    notes.write_bytes(_OTHERS + _note(b"GNU\0", 3, _ID) + _OTHERS)
    assert kernel_build(*files)[-1] == _ID.hex()


@pytest.mark.parametrize("content", [b"", _OTHERS, b"\1", _note(b"GNU\0", 1, _ID)])
def test_without_one_it_is_a_digest_of_the_types(content: bytes, files: tuple[Path, Path]) -> None:
    notes, btf = files
    without = kernel_build(*files)
    notes.write_bytes(content)
    assert kernel_build(*files) == without
    btf.write_bytes(b"other types")
    assert kernel_build(*files) != without


def test_without_both_it_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        kernel_build(tmp_path / "none", tmp_path / "none")


def test_this_kernel_has_one() -> None:
    assert all(kernel_build())
