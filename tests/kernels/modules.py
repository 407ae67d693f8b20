"""The modules of a kernel, and those that it needs before it has its root."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

_OF_ROOT = ("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_rng", "ext4")
_UNPACKED_BY = {".xz": ["xz", "--decompress"], ".zst": ["zstd", "--decompress", "--quiet", "--rm"]}


def unpack_modules(directory: Path) -> list[Path]:
    """Unpack all modules of a kernel and list what depends on what; return those of its root, in the order of loading.

    What is in the image itself, or is not there at all, is not among them.
    """
    for suffix, program in _UNPACKED_BY.items():
        if packed := sorted(directory.rglob(f"*.ko{suffix}")):
            subprocess.run([*program, *packed], check=True)
    _list_dependencies(directory)
    lines = (directory / "modules.dep").read_text().splitlines()
    needs = {path: needed.split() for path, _, needed in (line.partition(":") for line in lines)}
    by_name = {Path(path).stem.replace("-", "_"): path for path in needs}
    ordered: dict[str, None] = {}
    for name in _OF_ROOT:
        if name in by_name:
            # The last one that is named has to be loaded first (modules.dep(5))
            ordered.update(dict.fromkeys([*reversed(needs[by_name[name]]), by_name[name]]))
    return [directory / path for path in ordered]


def _list_dependencies(directory: Path) -> None:
    """Have depmod do so, which looks in lib or in usr/lib, as it was built."""
    with tempfile.TemporaryDirectory() as base:
        for parent in (Path(base, "lib"), Path(base, "usr/lib")):
            parent.mkdir(parents=True)
            (parent / "modules").symlink_to(directory.parent)
        subprocess.run(["depmod", "--basedir", base, directory.name], check=True)
