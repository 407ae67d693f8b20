"""What the host agent sends is what docs/registry/ declares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.registry import contract
from tests.support.every_event import ALL_OPTIONS, OF_EACH_EVENT, make_sessions
from tests.support.host_agent import HostAgent
from tests.support.received import read_otlp_json_lines
from tests.support.registered import Registry
from tests.support.traffic import Traffic

_NOT_HERE = {"tcplife.spool.size", "tcplife.spool.age", "tcplife.retransmits"}
"""Metrics of what is not there in these tests, or may not be."""


def _requests(directory: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for path in sorted(directory.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_all_that_the_host_agent_sends_is_in_the_registry(traffic: Traffic, tmp_path: Path) -> None:
    with HostAgent(["--no-table", "--otlp-file", str(tmp_path)], ALL_OPTIONS):
        make_sessions(traffic, tmp_path)
    registry = Registry()
    assert {line for request in _requests(tmp_path) for line in registry.differences(request)} == set()
    logs = read_otlp_json_lines(tmp_path / "logs.jsonl").logs
    for event, names in OF_EACH_EVENT.items():
        assert names <= {name for log in logs if log.event_name == event for name in log.attributes}
    sent = {point.name for point in read_otlp_json_lines(tmp_path / "metrics.jsonl").points}
    assert {metric.name for metric in contract().metrics} - _NOT_HERE <= sent
