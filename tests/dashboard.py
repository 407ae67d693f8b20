"""The dashboard for Grafana, made from its panels: `python -m tests.dashboard` writes collector-config/grafana/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.dashboard_panels import ROWS, Panel, Query

DASHBOARD = Path(__file__).resolve().parents[1] / "collector-config" / "grafana" / "dashboard.json"

_SOURCE = {"type": "prometheus", "uid": "$source"}
_WIDTH = 24
"""Of a dashboard, in Grafana's units."""


def dashboard() -> str:
    """The text of the file."""
    model = {
        "uid": "otel-tcplife",
        "title": "TCP sessions (otel-tcplife)",
        "description": "Made by `python -m tests.dashboard`. docs/backends.md says what it needs.",
        "tags": ["otel-tcplife"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": _panels(),
    }
    return _compact(model) + "\n"


def _variables() -> list[dict[str, Any]]:
    source = {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}
    functions = {"Prometheus": "increase", "VictoriaMetrics": "increase_pure"}
    grown = {
        "name": "grown",
        "label": "Store",
        "type": "custom",
        "query": ", ".join(f"{store} : {function}" for store, function in functions.items()),
        "current": {"text": "Prometheus", "value": "increase"},
    }
    host = {
        "name": "host",
        "label": "Host",
        "type": "query",
        "datasource": _SOURCE,
        "query": "label_values(tcplife_session_active, host_name)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    return [source, grown, host]


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": _place(0, y, _WIDTH, 1)})
        y += 1
        width = _WIDTH // len(row)
        height = max(panel.height for panel in row)
        for column, panel in enumerate(row):
            panels.append(_panel(panel, len(panels) + 1, _place(column * width, y, width, height)))
        y += height
    return panels


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"h": height, "w": width, "x": x, "y": y}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    model: dict[str, Any] = {
        "id": number,
        "type": panel.type,
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": panel.look}, "overrides": []},
        "targets": [_target(query, panel, chr(ord("A") + number)) for number, query in enumerate(panel.queries)],
    }
    if panel.options:
        model["options"] = panel.options
    return model


def _target(query: Query, panel: Panel, letter: str) -> dict[str, Any]:
    target: dict[str, Any] = {"refId": letter, "expr": query.expression, "legendFormat": query.legend}
    if panel.type == "heatmap":
        target["format"] = "heatmap"
    if panel.is_instant:
        target["instant"] = True
    return target


def _compact(value: Any, indent: int = 0) -> str:
    """JSON in which what fits into a line is in a line."""
    text = json.dumps(value)
    if len(text) + indent <= 120 or not isinstance(value, (dict, list)) or not value:
        return text
    inner = " " * (indent + 2)
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    items: list[str] = (
        [f"{json.dumps(key)}: {_compact(each, indent + 2)}" for key, each in value.items()]  # pyright: ignore
        if isinstance(value, dict)
        else [_compact(each, indent + 2) for each in value]  # pyright: ignore
    )
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{' ' * indent}{closing}"


if __name__ == "__main__":
    DASHBOARD.write_text(dashboard())
