"""The user space of a virtual machine: a Debian with bcc, and a Python environment that has what the tests import.

Nothing of it runs while it is made, so that it can be that of another architecture: its packages are unpacked, and what
their scripts would do is done here, as far as it is needed.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.architecture import Architecture
from tests.kernels.archive import Archive
from tests.kernels.cache import kept
from tests.kernels.environment import install, requirements

_PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
SUITES = tuple(_PYTHONS)
"""Those that have Debian's bcc 0.26, and 0.31."""

_BASE = (
    "base-files", "base-passwd", "bash", "busybox-static", "ca-certificates", "coreutils", "dash", "debianutils",
    "diffutils", "findutils", "grep", "gzip", "hostname", "libc-bin", "mawk", "mount", "sed", "tar", "util-linux",
)  # fmt: skip
_FOR_TESTS = ("iproute2", "kmod", "libbpf-tools", "nftables", "openssl", "procps", "python3", "python3-bpfcc")
_MEGABYTES = 3000
"""Sparse, so that only what is used takes room."""

_MERGE_USR = 'for name in bin sbin lib lib64; do mkdir -p "$1/usr/$name"; ln -s "usr/$name" "$1/$name"; done'


@dataclass(frozen=True)
class RootFs:
    """A file system in a file, and the version of its Python."""

    image: Path
    suite: str
    python: str


def root_fs(suite: str, architecture: Architecture, archive: Archive) -> RootFs:
    """That of a suite, made where it is not there. Raise CalledProcessError where that fails."""
    python = _PYTHONS[suite]
    packages = [*_BASE, *_FOR_TESTS, f"libpython{python}"]  # which Rotel is linked with
    needed = requirements(architecture, python)
    recipe = hashlib.sha256("\n".join([_MERGE_USR, *packages, *needed]).encode()).hexdigest()[:12]

    def make(into: Path) -> None:
        root = into.with_name("root")
        _unpack(suite, architecture, archive, packages, root)
        _configure(root)
        install(needed, architecture, python, root)
        image = into / "root.img"
        make = ["mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum", "-d", root, image, f"{_MEGABYTES}M"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)

    directory = kept(f"root-{architecture.debian}-{suite}-{recipe}", make)
    return RootFs(directory / "root.img", suite, python)


def _unpack(suite: str, architecture: Architecture, archive: Archive, packages: Sequence[str], root: Path) -> None:
    options = [
        "--variant=extract",
        f"--architectures={architecture.debian}",
        f"--include={','.join(packages)}",
        f"--setup-hook={_MERGE_USR}",
        "--quiet",
    ]
    subprocess.run(["mmdebstrap", *options, suite, root, *archive.sources(suite)], check=True)


def _configure(root: Path) -> None:
    """What the packages' own scripts would do."""
    for name in ("passwd", "group"):
        (root / "etc" / name).write_bytes((root / f"usr/share/base-passwd/{name}.master").read_bytes())
    (root / "etc/hosts").write_text("127.0.0.1 localhost kernels\n::1 localhost\n")
    # Without any authority, Rotel does not start
    authorities = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(b"".join(each.read_bytes() for each in authorities))
    for link, target in (("usr/bin/awk", "mawk"), ("usr/bin/sh", "dash")):
        if not (root / link).exists():
            (root / link).symlink_to(target)
    for name in ("dev", "proc", "project", "root", "run", "sys", "tmp", "var/tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
