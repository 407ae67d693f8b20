"""Packages with entry points, made up for a test and found on the path."""

from __future__ import annotations

from pathlib import Path


def make_package(directory: Path, name: str, source: str, group: str, entries: dict[str, str]) -> None:
    """A module of this source in the directory, and these entry points: name to what of the module it is."""
    info = directory / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = "".join(f"{entry} = {name}:{attribute}\n" for entry, attribute in entries.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}")
    (directory / f"{name}.py").write_text(source)
