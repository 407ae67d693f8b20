"""The queries of docs/sql.md."""

from __future__ import annotations

import re
from pathlib import Path

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "sql.md"


def documented_queries() -> list[str]:
    """Each of them, in their order: top talkers, longest sessions, failed connects."""
    return re.findall(r"^```sql\n(.*?)^```$", _DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
