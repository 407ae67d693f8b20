"""A kernel of Debian's, ready to be booted: its image, its modules as a file system, and what mounts the root."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.architecture import Architecture
from tests.kernels.archive import Archive, NotThere
from tests.kernels.cache import kept
from tests.kernels.initramfs import make_initramfs
from tests.kernels.modules import unpack_modules

_MOST_TRIED = 12
"""Packages that the lists have, and the archive perhaps not any more."""


@dataclass(frozen=True)
class Kernel:
    """Files that QEMU is given."""

    wanted: str
    """What was asked for, such as 6.1."""
    release: str
    """What `uname -r` says there."""
    image: Path
    modules: Path
    initramfs: Path


def kernel(wanted: str, architecture: Architecture, archive: Archive) -> Kernel:
    """The newest one of this version that can be had. Raise NotThere where there is none."""
    name = f"kernel-{architecture.debian}-{wanted}"
    directory = kept(name, lambda into: _make(wanted, architecture, archive, into))
    [image] = directory.glob("vmlinuz-*")
    release = image.name.removeprefix("vmlinuz-")
    return Kernel(wanted, release, image, directory / "modules.img", directory / "initramfs")


def _make(wanted: str, architecture: Architecture, archive: Archive, into: Path) -> None:
    unpacked = into.with_name("unpacked")
    _unpack_newest(wanted, architecture, archive, unpacked)
    modules = next(each for each in (unpacked / "usr/lib/modules", unpacked / "lib/modules") if each.is_dir())
    [of_release] = modules.iterdir()
    [image] = [*(unpacked / "boot").glob("vmlinuz-*"), *of_release.glob("vmlinuz")]
    image.rename(into / f"vmlinuz-{of_release.name}")
    needed = unpack_modules(of_release)
    programs = into.with_name("programs")
    archive.unpack(["busybox-static"], programs)
    make_initramfs(into / "initramfs", programs, needed)
    make = ["mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum", "-d", modules, into / "modules.img", "600M"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)


def _unpack_newest(wanted: str, architecture: Architecture, archive: Archive, into: Path) -> None:
    version = wanted.replace(".", r"\.")
    names = rf"{version}\.[0-9].*-cloud-{architecture.debian}(-unsigned)?$"
    # Since Linux 6.19, the package linux-image has nothing in it, but depends on two others
    found = archive.names(f"^linux-binary-{names}") or archive.names(f"^linux-image-{names}")
    refused: list[NotThere] = []
    for name in found[:_MOST_TRIED]:
        modules = [name.replace("-binary-", "-modules-").removesuffix("-unsigned")] if "-binary-" in name else []
        try:
            archive.unpack([name, *modules], into)
        except NotThere as error:
            refused.append(error)
        else:
            return
    raise NotThere(f"no kernel {wanted} for {architecture.debian}: {'; '.join(map(str, refused)) or 'none is listed'}")
