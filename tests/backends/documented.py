"""The queries that docs/backends.md shows."""

from __future__ import annotations

import re
from pathlib import Path

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "backends.md"


def documented(language: str) -> list[str]:
    """Those in this language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)\n```$", _DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


def counted_by(function: str, query: str) -> str:
    """The query for a store in which this function says how much a counter has grown."""
    assert "increase(" in query
    return query.replace("increase(", f"{function}(")
