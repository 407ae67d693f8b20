"""What a virtual machine is given: this tree, and which steps to run."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tests.kernels.environment import project_files
from tests.kernels.steps import CHOSEN

_PROJECT = Path(__file__).resolve().parents[2]
_PARTS = ("bpf", "collector-config", "docs", "otel_tcplife", "pyproject.toml", "README.md", "tests")


def make_job(path: Path, python: str, steps: Iterable[str]) -> None:
    """Write it as a tar, whose names are those below the root of the machine."""
    with tarfile.open(path, "w:", format=tarfile.GNU_FORMAT) as job:
        for part in _PARTS:
            job.add(_PROJECT / part, arcname=f"project/{part}", filter=_of_root)
        for name, text in {**project_files(python), f"project/{CHOSEN}": "\n".join(steps)}.items():
            content = text.encode()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            job.addfile(member, io.BytesIO(content))


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """A file of the project, as root has it; none of those that Python has made of others."""
    if "__pycache__" in member.name:
        return None
    member.uid = member.gid = 0
    return member
