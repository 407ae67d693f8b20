"""The modules of the package know only what is below them, also where they import late."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import otel_tcplife

_PACKAGE = Path(otel_tcplife.__file__).parent

_FLOORS: dict[str, int] = {
    # what the sessions are
    **dict.fromkeys(
        ["session", "columns", "printable", "errors", "version", "allocator", "environment_variables", "networks"], 0
    ),
    "capabilities": 0,
    **dict.fromkeys(
        [
            "log_options",
            "delivery_options",
            "addresses",
            "session_columns",
            "attribute",
            "body",
            "conventions",
            "instruments",
            "own_metrics",
        ],
        1,
    ),
    **dict.fromkeys(["log", "options", "option", "plugin_options", "parsers", "forks", "host", "flow_id"], 1),
    "unknown_variables": 1,
    # what runs them through; destinations knows all ways out
    "pipeline": 2,
    **dict.fromkeys(["probe", "replay", "export"], 3),
    **dict.fromkeys(["pipeline.chosen_exporters", "pipeline.destinations", "command_line", "privileges", "alive"], 4),
    # who starts it
    **dict.fromkeys(["helper", "route", "connecting"], 4),
    **dict.fromkeys(
        ["cli", "host_agent", "check", "embedded", "tracing", "instrumentor", "__main__", "probe.__main__"], 5
    ),
    "probe.inspection": 5,
}


def _imports(path: Path) -> set[str]:
    """The modules of the package that one imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "otel_tcplife":
            base = node.module.removeprefix("otel_tcplife").removeprefix(".")
            for alias in node.names:
                below = f"{base}.{alias.name}".removeprefix(".")
                found.add(below if _path(below) else base)
    return found - {""}


def _path(module: str) -> Path | None:
    path = _PACKAGE / (module.replace(".", "/") + ".py")
    return path if path.exists() else None


_GRAPH = {
    str(path.relative_to(_PACKAGE).with_suffix("")).replace("/", "."): _imports(path)
    for path in sorted(_PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"
}


def _floor(module: str) -> int | None:
    """That of the module itself, or of the room that it is in."""
    return _FLOORS.get(module, _FLOORS.get(module.partition(".")[0]))


def test_there_is_no_cycle() -> None:
    try:
        TopologicalSorter(_GRAPH).prepare()
    except CycleError as cycle:
        pytest.fail(" -> ".join(cycle.args[1]))


def test_no_arrow_runs_up() -> None:
    up = {
        f"{module} -> {imported}"
        for module, imports in _GRAPH.items()
        for imported in imports
        if (above := _floor(imported)) is not None and (own := _floor(module)) is not None and own < above
    }
    assert not up


def test_one_file_has_the_underscored_packages_of_the_sdk() -> None:
    using = {
        path.relative_to(_PACKAGE).as_posix()
        for path in _PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and "_logs" in (node.module or "").split(".")
    }
    assert using == {"export/sdk/logs_api.py"}
