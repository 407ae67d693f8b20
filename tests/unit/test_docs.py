"""What the documents name exists: files, targets of make, and names in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_DOCUMENTS = [_ROOT / "README.md", *sorted((_ROOT / "docs").rglob("*.md"))]
_NAMES = [str(document.relative_to(_ROOT)) for document in _DOCUMENTS]
_PATH = re.compile(r"(?<![\w./-])(?:otel_tcplife|bpf|collector-config|tests|docs)/[\w./-]*\w")


@pytest.mark.parametrize("document", _DOCUMENTS, ids=_NAMES)
def test_each_path_of_the_tree_exists(document: Path) -> None:
    """Also those that are not in backticks."""
    paths = [match[0] for match in _PATH.finditer(document.read_text())]
    assert paths
    assert [path for path in paths if not (_ROOT / path).exists()] == []


@pytest.mark.parametrize("document", _DOCUMENTS, ids=_NAMES)
def test_each_link_within_the_repository_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    ours = [target for target in targets if "://" not in target]
    assert [target for target in ours if not (document.parent / target).exists()] == []


def test_readme_leads_to_each_document() -> None:
    links = re.findall(r"\]\((docs/[\w./-]+\.md)\)", (_ROOT / "README.md").read_text())
    assert sorted(links) == sorted(str(document.relative_to(_ROOT)) for document in _DOCUMENTS[1:])


def test_each_target_of_make_exists() -> None:
    """Those in backticks, and in the lines of examples."""
    text = "\n".join(document.read_text() for document in _DOCUMENTS)
    named = {*re.findall(r"(?:`|^ {4,})make ([a-z][a-z-]*)", text, re.MULTILINE)}
    targets = {*re.findall(r"^([a-z][a-z-]*):", (_ROOT / "Makefile").read_text(), re.MULTILINE)}
    assert {"run", "test", "lint"} <= named <= targets


def test_the_architecture_has_every_room_of_the_package() -> None:
    text = (_ROOT / "docs" / "architecture.md").read_text()
    modules = [path.relative_to(_ROOT) for path in (_ROOT / "otel_tcplife").glob("*/**/*.py")]
    rooms = {str(path.parent) for path in modules if path.name != "__init__.py"}
    assert [room for room in sorted(rooms) if f"`{room}/`" not in text] == []


def test_the_names_of_the_glossary_are_in_the_code() -> None:
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| ([^|]+) \|$", (_ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    files = [*(_ROOT / "otel_tcplife").rglob("*.py"), *(_ROOT / "bpf").glob("*.[ch]")]
    code = "\n".join([*map(str, files), *(file.read_text() for file in files)])
    assert names
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", code)] == []
