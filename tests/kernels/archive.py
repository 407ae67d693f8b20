"""Debian's packages of one architecture, downloaded and unpacked, but not installed.

apt is given lists and sources of its own, so that those of this machine stay as they are.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.cache import kept

DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_WITH_SECURITY = ("bullseye", "bookworm", "trixie")
_SUITES = (*_WITH_SECURITY, "bookworm-backports", "trixie-backports", "forky", "sid")
_MIRROR, _SECURITY = "DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR"

_CONFIGURATION = """Dir::State "{directory}/state";
Dir::State::status "{directory}/status";
Dir::Cache "{directory}/cache";
Dir::Etc::sourcelist "{directory}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Check-Valid-Until "false";
"""


class NotThere(Exception):
    """A package that the archive does not have, or not any more."""


@dataclass(frozen=True)
class Mirrors:
    """Where packages and security updates come from."""

    packages: str
    security: str

    @classmethod
    def of_this_machine(cls) -> Mirrors:
        """Those that apt uses here, or that the environment names. Raise NotThere where there are none."""
        form = ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]
        lines = subprocess.run(form, check=True, capture_output=True, text=True).stdout.splitlines()
        found = dict(line.rsplit(" ", 1) for line in lines)
        packages = os.environ.get(_MIRROR) or found.get("Debian", "")
        security = os.environ.get(_SECURITY) or found.get("Debian-Security", "")
        if not packages:
            raise NotThere(f"apt has no mirror of Debian here; set {_MIRROR}, and {_SECURITY}, to the URLs of some")
        return cls(packages, security)

    def sources(self, suite: str) -> Iterator[str]:
        """Lines of sources.list."""
        yield f"deb [signed-by={DEBIAN_KEYS}] {self.packages} {suite} main"
        if self.security and suite in _WITH_SECURITY:
            yield f"deb [signed-by={DEBIAN_KEYS}] {self.security} {suite}-security main"


class Archive:
    """All suites of an architecture."""

    def __init__(self, architecture: str, *, refresh: bool = False) -> None:
        """Fetch the lists of packages where there are none, or where they are to be fetched anew."""
        self._mirrors = Mirrors.of_this_machine()
        self._architecture = architecture
        self._directory = kept(f"archive-{architecture}", lambda _: None)
        self._configure()
        if refresh or not (self._directory / "fetched").exists():
            # A suite that is not there, or no more, takes nothing from the others
            self._apt("apt-get", "update", "--quiet", "--quiet", check=False)
            (self._directory / "fetched").touch()

    def _configure(self) -> None:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        (self._directory / "status").touch()
        lines = [line for suite in _SUITES for line in self._mirrors.sources(suite)]
        (self._directory / "sources.list").write_text("\n".join(lines) + "\n")
        text = _CONFIGURATION.format(directory=self._directory, architecture=self._architecture)
        (self._directory / "apt.conf").write_text(text)

    def sources(self, suite: str) -> list[str]:
        """Lines of sources.list for one suite."""
        return list(self._mirrors.sources(suite))

    def names(self, pattern: str) -> list[str]:
        """Names of packages that match, those of the newest versions first."""
        found = self._apt("apt-cache", "search", "--names-only", pattern).stdout.splitlines()
        return sorted((line.partition(" - ")[0] for line in found), key=_in_order, reverse=True)

    def unpack(self, packages: Sequence[str], into: Path) -> None:
        """Download packages and unpack them below a directory. Raise NotThere with what apt says where one is gone."""
        with tempfile.TemporaryDirectory(dir=into.parent) as directory:
            command = ["apt-get", "download", "--quiet", "--quiet", *packages]
            done = self._apt(*command, cwd=Path(directory), check=False)
            files = sorted(Path(directory).glob("*.deb"))
            if done.returncode or len(files) < len(packages):
                raise NotThere(f"{' '.join(packages)}: {done.stderr.strip()}")
            for file in files:
                subprocess.run(["dpkg-deb", "--extract", file, into], check=True)

    def _apt(self, *command: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "APT_CONFIG": str(self._directory / "apt.conf"), "LC_ALL": "C"}
        return subprocess.run(command, check=check, capture_output=True, text=True, env=environ, cwd=cwd)


def _in_order(name: str) -> list[tuple[str, int]]:
    """The parts of a name, its numbers by what they are worth."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D+)(\d*)", name)]
