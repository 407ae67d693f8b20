"""The plugin and the agent tell the same of the same sessions: both are there while these are played."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_tcplife.conventions import SCOPE
from otel_tcplife.instruments import (
    ACTIVE,
    EXPORT_RECORDS,
    HISTOGRAMS,
    METRIC_ATTRIBUTES,
    PROBE_SESSIONS,
    HistogramMetric,
)
from otel_tcplife.version import __version__
from tests.support.actor import run_actor
from tests.support.expected_end import ExpectedEnd
from tests.support.helpers import helpers_of, wait_until_ended
from tests.support.host_agent import HostAgent
from tests.support.otlp_receiver import FileReceiver
from tests.support.played_session import CLIENT, FAMILIES, SERVER
from tests.support.received import Received, ReceivedLog, ReceivedPoint, read_otlp_json_lines
from tests.support.scenarios import (
    client_closes_first,
    client_resets,
    half_close,
    play_between,
    refused_between,
    server_closes_first,
    server_resets,
)

INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))

_PLAYS = (client_closes_first, server_closes_first, half_close, client_resets, server_resets)

_MEASURED = {"tcplife.session.duration", "tcplife.handshake.duration"}
"""By each of the two programs for itself."""


@dataclass
class Run:
    """What was done, and what each form told of it."""

    ends: list[ExpectedEnd]
    agent: dict[tuple[int, int], list[ReceivedLog]]
    plugin: dict[tuple[int, int], list[ReceivedLog]]
    points: list[ReceivedPoint]
    """Of the plugin."""
    exporter: str
    """Of the plugin, as the ledger has it."""


@pytest.fixture(scope="module", params=["providers", "helper"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    by_agent, by_plugin = tmp_path_factory.mktemp("agent"), tmp_path_factory.mktemp("plugin")
    with FileReceiver(by_plugin) as receiver, HostAgent(["--otlp-file", str(by_agent), "--no-table"]):
        environment = [*_environment(receiver.endpoint), f"OTEL_PYTHON_TCPLIFE_EXPORT={request.param}"]
        instrumented = ["env", *environment, INSTRUMENT]
        with (
            run_actor(CLIENT, run=instrumented, isolated=False) as client,
            run_actor(SERVER, run=instrumented, isolated=False) as server,
        ):
            ends: list[ExpectedEnd] = []
            for family in FAMILIES:
                for action in _PLAYS:
                    ends += play_between(client, server, family, action)
                ends += refused_between(client, server, family)
            client.end()
            server.end()
            actors = client.pid, server.pid
        for helper in [helper for actor in actors for helper in helpers_of(actor)]:
            wait_until_ended(helper)
    received = read_otlp_json_lines(by_plugin / "logs.jsonl")
    metrics = read_otlp_json_lines(by_plugin / "metrics.jsonl")
    exporter = "otlp" if request.param == "helper" else "providers"
    return Run(
        ends, _by_ports(read_otlp_json_lines(by_agent / "logs.jsonl")), _by_ports(received), metrics.points, exporter
    )


def _environment(endpoint: str) -> list[str]:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "app",
    }
    return [f"{name}={value}" for name, value in variables.items()]


def _by_ports(received: Received) -> dict[tuple[int, int], list[ReceivedLog]]:
    found: defaultdict[tuple[int, int], list[ReceivedLog]] = defaultdict(list)
    for log in received.logs:
        if not log.is_elsewhere:
            found[log.ports].append(log)
    return found


def test_each_end_is_reported_once_by_each_as_it_was(run: Run) -> None:
    assert len(run.ends) == len(FAMILIES) * (2 * len(_PLAYS) + 1)
    for end in run.ends:
        [by_agent], [by_plugin] = run.agent[end.ports], run.plugin[end.ports]
        end.check(by_agent)
        end.check(by_plugin)
        assert by_agent.attributes.keys() == by_plugin.attributes.keys()
        for name in by_agent.attributes.keys() - _MEASURED:
            assert by_agent.attributes[name] == by_plugin.attributes[name], (end.scenario, name)
        assert _without_time(by_agent.body) == _without_time(by_plugin.body)
        assert (by_plugin.scope_name, by_plugin.scope_version) == (SCOPE, __version__)
        assert by_plugin.resource["service.name"] == "app"


def _without_time(body: str) -> list[str]:
    words = body.split()
    return [word for word, unit in zip(words, [*words[1:], ""]) if not unit.startswith("ms")]


def test_the_plugin_reports_nothing_else(run: Run) -> None:
    """Such as the connections of exporters."""
    assert run.plugin.keys() == {end.ports for end in run.ends}


def _last(points: list[ReceivedPoint], name: str) -> list[ReceivedPoint]:
    """The last points of each process."""
    mine = [point for point in points if point.name == name]
    latest = {str(point.resource["service.instance.id"]): point.time_unix_nano for point in mine}
    return [point for point in mine if point.time_unix_nano == latest[str(point.resource["service.instance.id"])]]


@pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: metric.name)
def test_the_histograms_have_our_bounds_and_the_sums_of_the_records(run: Run, metric: HistogramMetric) -> None:
    attribute = {
        "tcplife.session.duration": "tcplife.session.duration",
        "tcplife.handshake.duration": "tcplife.handshake.duration",
        "tcplife.session.rtt": "tcplife.rtt.smoothed",
    }
    logs = [log for of_ports in run.plugin.values() for log in of_ports]
    points = _last(run.points, metric.name)
    assert {tuple(point.explicit_bounds) for point in points} == {metric.bounds}
    for direction in ("transmit", "receive") if metric.name == "tcplife.session.io" else ("",):
        way = {"transmit": "tcplife.bytes.sent", "receive": "tcplife.bytes.received"}.get(direction)
        name = way or attribute[metric.name]
        mine = [point for point in points if not direction or point.attributes["network.io.direction"] == direction]
        values = [float(log.attributes[name]) for log in logs if name in log.attributes]
        assert sum(point.count or 0 for point in mine) == len(values)
        assert sum(point.sum or 0 for point in mine) == pytest.approx(sum(values), rel=1e-9)
    allowed = {attribute.name for attribute in METRIC_ATTRIBUTES} | {"network.io.direction"}
    assert all(point.attributes.keys() <= allowed for point in points)
    assert {(point.unit, point.description) for point in points} == {(metric.unit, metric.brief)}


def test_the_balance_holds(run: Run) -> None:
    logs = sum(map(len, run.plugin.values()))
    probe, exported = _last(run.points, PROBE_SESSIONS.name), _last(run.points, EXPORT_RECORDS.name)
    totals: defaultdict[str, int] = defaultdict(int)
    for point in probe:
        totals[str(point.attributes["tcplife.outcome"])] += int(point.value or 0)
    assert totals.pop("submitted") == logs
    assert not any(totals.values())
    assert sum(int(point.value or 0) for point in exported) == logs
    assert {(str(p.attributes["tcplife.exporter"]), str(p.attributes["tcplife.outcome"])) for p in exported} == {
        (run.exporter, "exported")
    }
    assert not any(point.value for point in _last(run.points, ACTIVE.name))  # none is followed when tracing has ended
