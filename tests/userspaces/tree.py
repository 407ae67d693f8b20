"""The bare user space of a distribution in a directory, and commands that are run in it on the kernel of this host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.kernels.archive import DEBIAN_KEYS, Mirrors, NotThere
from tests.kernels.cache import kept

_BASE = ("apt", "ca-certificates", "make", "procps", "python3")
"""Besides what every system has: what README takes for granted on a fresh machine."""

_UBUNTU_MIRROR, _UBUNTU_KEYS = "UBUNTU_MIRROR", Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg")

_PROJECT = Path("srv/otel-tcplife")
"""Where all users can read it, as tests run some of it as another one."""

_PASSED_ON = re.compile(r"(?:PIP|UV)_.*|[a-z]+_proxy|SSL_CERT_FILE|GOPROXY")
"""Variables that say how packages are fetched."""

# The mounts are those of this command alone, and end with it. What chroot(2) confines may make no user namespaces.
_WITHIN = """
set -e
tree=$1
shift
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/run"
cd "$tree"
pivot_root . mnt
exec chroot . sh -c 'umount --lazy /mnt && exec "$0" "$@"' "$@"
"""


@dataclass(frozen=True)
class Distribution:
    """A release of a distribution."""

    title: str
    is_ubuntu: bool = False


DISTRIBUTIONS = {
    "bookworm": Distribution("Debian 12"),
    "trixie": Distribution("Debian 13"),
    "jammy": Distribution("Ubuntu 22.04", is_ubuntu=True),
    "noble": Distribution("Ubuntu 24.04", is_ubuntu=True),
    "resolute": Distribution("Ubuntu 26.04", is_ubuntu=True),
}
"""By the name of the suite."""


def bare_tree(suite: str) -> Path:
    """That of a suite, made where it is not there. Raise NotThere, and CalledProcessError where making it fails."""

    def make(into: Path) -> None:
        options = ["--variant=minbase", f"--include={','.join(_BASE)}", *_keys_and_components(suite)]
        subprocess.run(["mmdebstrap", "--quiet", *options, suite, into / "tree", _mirror(suite)], check=True)

    return kept(f"userspace-{suite}", make) / "tree"


def _keys_and_components(suite: str) -> list[str]:
    if DISTRIBUTIONS[suite].is_ubuntu:
        return [f"--keyring={_UBUNTU_KEYS}", "--components=main,universe"]
    return [f"--keyring={DEBIAN_KEYS}"]


def _mirror(suite: str) -> str:
    if not DISTRIBUTIONS[suite].is_ubuntu:
        return Mirrors.of_this_machine().packages
    if not _UBUNTU_KEYS.exists():
        raise NotThere(f"{_UBUNTU_KEYS} is missing; it is in the package ubuntu-keyring of Ubuntu")
    mirror = os.environ.get(_UBUNTU_MIRROR, "")
    if not mirror:
        raise NotThere(f"set {_UBUNTU_MIRROR} to the URL of a mirror of Ubuntu")
    return mirror


def copy_of(bare: Path, into: Path, project: Path) -> Path:
    """A copy of the tree, with a clone of the project's last commit and the names and authorities of this host."""
    tree = into / "tree"
    subprocess.run(["cp", "--archive", "--reflink=auto", bare, tree], check=True)
    subprocess.run(["git", "clone", "--quiet", project, tree / _PROJECT], check=True)
    for file in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        (tree / file).unlink(missing_ok=True)
        shutil.copy(f"/{file}", tree / file)
    return tree


def run_in(tree: Path, command: Sequence[str], output: IO[str]) -> int:
    """Run a command in the directory of the project; return its exit code."""
    passed_on = [f"{name}={value}" for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)]
    own = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
    within = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _WITHIN, "sh", str(tree)]
    inside = ["env", "-i", f"--chdir=/{_PROJECT}", *passed_on, *own, *command]
    return subprocess.run([*within, *inside], stdout=output, stderr=output, check=False).returncode
