"""The comparison of OTLP JSON with docs/registry/ sees what is not as that has it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.registered import Registry

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept", "home")

Sent = dict[str, dict[str, Any]]
"""A request of each signal."""


@pytest.fixture
def sent(tmp_path: Path, replay: Callable[..., tuple[int, str]]) -> Sent:
    """What a replay writes."""
    code, _ = replay(arguments=("--otlp-file", str(tmp_path)))
    assert code == 0
    return {signal: json.loads((tmp_path / f"{signal}.jsonl").read_text()) for signal in ("logs", "metrics")}


def _log(sent: Sent) -> dict[str, Any]:
    return sent["logs"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]


def _metric(sent: Sent, name: str) -> dict[str, Any]:
    [found] = [
        metric
        for of_resource in sent["metrics"]["resourceMetrics"]
        for metric in of_resource["scopeMetrics"][0]["metrics"]
        if metric["name"] == name
    ]
    return found


def _attribute(owner: dict[str, Any], key: str) -> dict[str, Any]:
    [found] = [item for item in owner["attributes"] if item["key"] == key]
    return found


def _differences(sent: Sent) -> list[str]:
    registry = Registry()
    return [line for request in sent.values() for line in registry.differences(request)]


_CHANGES: dict[str, Callable[[Sent], object]] = {
    "there is no event 'tcplife.other'": lambda sent: _log(sent).update(eventName="tcplife.other"),
    "there is no metric tcplife.other": lambda sent: _metric(sent, "tcplife.io").update(name="tcplife.other"),
    "tcplife.session.closed has no tcplife.outcome": lambda sent: _log(sent)["attributes"].append(
        {"key": "tcplife.outcome", "value": {"stringValue": "exported"}}
    ),
    "tcplife.session.closed: process.pid is stringValue, not int": lambda sent: _attribute(
        _log(sent), "process.pid"
    ).update(value={"stringValue": "7"}),
    "tcplife.session.closed: network.type is 'ipv5', not one of ['ipv4', 'ipv6']": lambda sent: _attribute(
        _log(sent), "network.type"
    ).update(value={"stringValue": "ipv5"}),
    "tcplife.io is counter in B, not ('counter', 'By')": lambda sent: _metric(sent, "tcplife.io").update(unit="B"),
    "tcplife.io is updowncounter in By, not ('counter', 'By')": lambda sent: _metric(sent, "tcplife.io")["sum"].pop(
        "isMonotonic"
    ),
    "the scope has the schema URL None": lambda sent: sent["metrics"]["resourceMetrics"][0]["scopeMetrics"][0].pop(
        "schemaUrl"
    ),
    "the resource has no process.pid": lambda sent: sent["logs"]["resourceLogs"][0]["resource"]["attributes"].append(
        {"key": "process.pid", "value": {"intValue": "7"}}
    ),
}


def test_what_is_declared_is_no_difference(sent: Sent) -> None:
    assert _differences(sent) == []


@pytest.mark.parametrize(("line", "change"), _CHANGES.items(), ids=_CHANGES)
def test_each_difference_is_named(line: str, change: Callable[[Sent], object], sent: Sent) -> None:
    changed = copy.deepcopy(sent)
    change(changed)
    assert _differences(changed) == [line]
