"""The Python environment of a virtual machine: wheels for its processor and its Python, and this project."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

from tests.kernels.architecture import Architecture

VENV = "opt/venv"
"""Below the root."""
_FOR_TESTS = {
    *("hypothesis", "opentelemetry-distro", "opentelemetry-semantic-conventions", "pytest", "pytest-timeout", "rotel")
}
"""Of the extra `test`, what the tests import that run in a virtual machine."""
_OLDEST_LIBC, _NEWEST_LIBC = 17, 36
"""glibc 2.N of the oldest wheels that there are, and of Debian 12."""


def requirements(architecture: Architecture, python: str) -> list[str]:
    """Of this project, and of the tests in a virtual machine, as pip is given them."""
    there = {"platform_machine": architecture.machine, "python_version": python}
    return [f"{each.name}{each.specifier}" for each in _required() if _is_needed(each, there)]


def _required() -> Iterator[Requirement]:
    return map(Requirement, requires("otel-tcplife") or [])


def _is_needed(requirement: Requirement, there: dict[str, str]) -> bool:
    marker = requirement.marker
    if not marker or marker.evaluate({**there, "extra": ""}):
        return True
    return requirement.name in _FOR_TESTS and marker.evaluate({**there, "extra": "test"})


def site_packages(python: str) -> str:
    """Below the root."""
    return f"{VENV}/lib/python{python}/site-packages"


def install(needed: Sequence[str], architecture: Architecture, python: str, root: Path) -> None:
    """Make the environment below the root, by this machine's pip, as if `python -m venv` had been run there."""
    site = root / site_packages(python)
    platforms = [f"manylinux_2_{minor}_{architecture.machine}" for minor in range(_NEWEST_LIBC, _OLDEST_LIBC - 1, -1)]
    platforms.append(f"manylinux2014_{architecture.machine}")
    of_there = [word for platform in platforms for word in ("--platform", platform)]
    of_there += ["--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", site]
    subprocess.run([*pip, *of_there, *needed], check=True)
    binaries = root / VENV / "bin"
    binaries.mkdir()
    for script in (site / "bin").iterdir():
        (binaries / script.name).write_text(_for_venv(script.read_text()))
        (binaries / script.name).chmod(0o755)
    for name in ("python", "python3", f"python{python}"):
        (binaries / name).symlink_to(f"/usr/bin/python{python}")
    configuration = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"
    (root / VENV / "pyvenv.cfg").write_text(configuration)


def _for_venv(script: str) -> str:
    """A script that begins with the Python that has made it."""
    first, rest = script.split("\n", 1)
    return f"#!/{VENV}/bin/python\n{rest}" if first.startswith("#!") else script


def project_files(python: str) -> dict[str, str]:
    """What an editable installation of this project adds to the environment: files by their paths below the root."""
    ours = distribution("otel-tcplife")
    site = site_packages(python)
    described = f"{site}/otel_tcplife-{ours.version}.dist-info"
    files = {f"{described}/{name}": ours.read_text(name) or "" for name in ("METADATA", "entry_points.txt")}
    command = Path(sys.executable).with_name("otel-tcplife").read_text()
    return {**files, f"{site}/otel-tcplife.pth": "/project\n", f"{VENV}/bin/otel-tcplife": _for_venv(command)}
