"""vendors/azure.yaml sends log records and metrics to the endpoint and with the key of the connection string."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.collector.telemetry import LOG, send
from tests.support.collector import VENDORS, Collector
from tests.support.otlp_receiver import HttpReceiver, Request
from tests.support.patience import eventually

_KEY = "00000000-0000-0000-0000-000000000001"
_METRICS = {"duration": (6.0, 3), "size": (43.0, 5), "events": (7, 1), "active": (-2, 1), "level": (0.5, 1)}
"""Value and count of each metric that send() sends."""


def _envelopes(requests: Sequence[Request]) -> list[dict[str, Any]]:
    """One on each line: https://github.com/microsoft/ApplicationInsights-Go/blob/master/appinsights/jsonserializer.go"""
    return [json.loads(line) for request in requests for line in request.content.splitlines()]


@pytest.mark.usefixtures("binary")
def test_each_record_and_each_metric_comes_with_the_key(tmp_path: Path) -> None:
    with HttpReceiver() as receiver:
        connection = f"InstrumentationKey={_KEY};IngestionEndpoint={receiver.endpoint}/"
        environ = {"APPLICATIONINSIGHTS_CONNECTION_STRING": connection}
        with Collector(tmp_path, overlays=[VENDORS / "azure.yaml"], env=environ) as collector:
            send(collector, "http")
            eventually(lambda: len(_envelopes(receiver.requests)) >= 1 + len(_METRICS))
    assert {request.path for request in receiver.requests} == {"/v2.1/track"}
    envelopes = _envelopes(receiver.requests)
    assert {envelope["iKey"] for envelope in envelopes} == {_KEY}
    [log] = [each["data"]["baseData"] for each in envelopes if each["data"]["baseType"] == "MessageData"]
    assert (log["message"], log["severityLevel"]) == (LOG.body, 2)
    assert log["properties"]["otel.event.name"] == LOG.event_name
    assert {name: log["properties"][name] for name in LOG.attributes} == {
        "text": "täxt", "int": str(2**40), "float": "0.25", "bool": "false"
    }  # fmt: skip
    metrics = [each["data"]["baseData"]["metrics"] for each in envelopes if each["data"]["baseType"] == "MetricData"]
    assert {metric["name"]: (metric["value"], metric["count"]) for [metric] in metrics} == _METRICS
    assert collector.logs()[0].body == LOG.body
