"""Each series of cumulative metrics begins at the collecting before it was first there, and keeps that start."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.resource import Resources
from otel_tcplife.instruments import EXPORT_RECORDS
from otel_tcplife.pipeline.counters import counters
from otel_tcplife.pipeline.ledger import Ledger, Outcome
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.session import SessionBatch, empty


def _session(program: str) -> SessionBatch:
    batch = empty(1)
    batch["event"], batch["duration"], batch["executable"] = 1, 1_000_000, program.encode()
    batch["bytes_sent"], batch["bytes_received"] = 3, 5
    return batch


def _times(data: MetricsData, name: str, attribute: str) -> dict[str, tuple[int, int]]:
    """Start and end of each data point of a metric, by the value of an attribute."""
    [metric] = [each for each in data.resource_metrics[0].scope_metrics[0].metrics if each.name == name]
    return {
        str((point.attributes or {})[attribute]): (point.start_time_unix_nano, point.time_unix_nano)
        for point in metric.data.data_points
    }


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize("metric", ["tcplife.session.duration", "tcplife.io"])
def test_of_sessions(metric: str, exponential: bool) -> None:
    aggregator = Aggregator(Resources(Resource({})), Preference(exponential=exponential), {})
    seen: list[dict[str, tuple[int, int]]] = []
    for program in ("a", "a", "b", "b"):
        aggregator.add(_session(program))
        seen.append(_times(aggregator.collect(), metric, "process.executable.name"))
        aggregator.put_back([])
    assert {times["a"][0] for times in seen} == {seen[0]["a"][0]}
    assert seen[2]["b"][0] == seen[3]["b"][0] == seen[1]["a"][1] > seen[0]["a"][0]


def test_of_counters() -> None:
    ledger = Ledger()
    aggregator = Aggregator(Resources(Resource({})), Preference(), counters(lambda: Stats({}, seen=0), ledger))
    seen: list[dict[str, tuple[int, int]]] = []
    for outcome in (Outcome.EXPORTED, Outcome.REJECTED, Outcome.REJECTED):
        ledger.count("otlp", outcome, 5)
        seen.append(_times(aggregator.collect(), EXPORT_RECORDS.name, "tcplife.outcome"))
    assert {times["exported"][0] for times in seen} == {seen[0]["exported"][0]}
    assert seen[1]["rejected"][0] == seen[2]["rejected"][0] == seen[0]["exported"][1]
