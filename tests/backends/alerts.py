"""The alerts of collector-config/prometheus/, asked of a store."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.support.promql import PromqlStore, Sample

ALERTS = Path(__file__).resolve().parents[2] / "collector-config" / "prometheus" / "alerts.yaml"


def expressions() -> dict[str, str]:
    """What each alert asks."""
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def pending(store: PromqlStore, grown: str) -> dict[str, list[Sample]]:
    """What each alert is about at this moment; `grown` is the store's function for what a counter grew by."""
    return {alert: store.query(asked.replace("increase(", f"{grown}(")) for alert, asked in expressions().items()}
