"""A file has fewer than 300 lines and a function at most 40, so that each can be read at once."""

from __future__ import annotations

import ast
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PYTHON = sorted(path for folder in ("otel_tcplife", "tests") for path in (_ROOT / folder).rglob("*.py"))
_C = sorted((_ROOT / "bpf").glob("*.[ch]"))


def test_files_are_short() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in [*_PYTHON, *_C]}
    assert len(lengths) > 200
    assert {name: length for name, length in lengths.items() if length >= 300} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{path}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in _PYTHON
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert len(lengths) > 1000
    assert {name: length for name, length in lengths.items() if length > 40} == {}
