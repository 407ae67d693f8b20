"""weaver, the checker of registries of semantic conventions, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.registry import DIRECTORY

WEAVER = shutil.which("weaver")

_CONVENTIONS = os.environ.get("SEMANTIC_CONVENTIONS")
"""A directory with the `model` of the release that the registry builds on, for a machine that cannot fetch it."""


def registry_with_its_dependency(directory: Path) -> Path:
    """A copy of docs/registry/ whose semantic conventions weaver finds."""
    registry = Path(shutil.copytree(DIRECTORY, directory / "registry"))
    if _CONVENTIONS:
        manifest = registry / "manifest.yaml"
        before, key, _ = manifest.read_text().partition("registry_path: ")
        manifest.write_text(f"{before}{key}{Path(_CONVENTIONS).resolve() / 'model'}\n")
    return registry


def weaver(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end; all that it says is in `stdout`."""
    assert WEAVER
    return subprocess.run([WEAVER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
