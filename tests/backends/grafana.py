"""What Grafana asks a store when it shows the dashboard."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.dashboard import DASHBOARD

_RANGE = "1h"


def panels() -> list[dict[str, Any]]:
    """Those that ask something."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def queries(panel: dict[str, Any], grown: str) -> list[str]:
    """What a panel asks a store in which this function says how much a counter has grown."""
    return [substituted(target["expr"], grown) for target in panel["targets"]]


def substituted(expression: str, grown: str) -> str:
    """An expression without variables, over the last hour and of all hosts."""
    values = {
        "grown": grown,
        "host": ".*",
        "__range": _RANGE,
        "__rate_interval": _RANGE,
        "__rate_interval_ms": "3600000",
    }
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)
