"""Azure Monitor's distribution, which has an exporter of its own: log records become traces, metrics customMetrics.

Application Insights has text only for properties, sums only for histograms, and no place for the name of an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.distros.environments import environment
from tests.distros.instrumented import APPLICATION, Ran, run
from tests.distros.receiver import Receiver

_REQUIREMENTS = ["azure-monitor-opentelemetry==1.8.11"]
_ENVIRON = {
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",  # statistics and settings of the vendor's, over the Internet
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}

_CONFIGURE = "from azure.monitor.opentelemetry import configure_azure_monitor; configure_azure_monitor()"
_THE_LINE_THAT_HELPS = "from otel_tcplife import TcplifeInstrumentor; TcplifeInstrumentor().instrument()"
_RUN = f"import runpy; runpy.run_path({str(APPLICATION)!r}, run_name='__main__')"


@dataclass
class Outcome:
    """What was done under the agent, and all that came of it."""

    ran: Ran
    traces: list[dict[str, Any]]
    """Those of ours, each as its message, severity level and properties."""
    metrics: list[dict[str, Any]]
    """Those of ours, each as its name, value, count and properties."""


def _run(command: Sequence[str | Path], directory: Path) -> Outcome:
    with environment("azure", _REQUIREMENTS) as binaries, Receiver() as receiver:
        here = f"IngestionEndpoint={receiver.http_endpoint}/;LiveEndpoint={receiver.http_endpoint}/"
        connection = f"InstrumentationKey=00000000-0000-0000-0000-000000000001;{here}"
        environ = {"APPLICATIONINSIGHTS_CONNECTION_STRING": connection, **_ENVIRON}
        ran = run(binaries, command, environ, directory)
        data = [envelope["data"] for envelope in receiver.envelopes()]
    traces = [kind["baseData"] for kind in data if kind["baseType"] == "MessageData"]
    metrics = [
        {**metric, "properties": kind["baseData"]["properties"]}
        for kind in data
        if kind["baseType"] == "MetricData"
        for metric in kind["baseData"]["metrics"]
    ]
    return Outcome(
        ran,
        [trace for trace in traces if trace["properties"].get("logger_name") == "otel_tcplife"],
        [metric for metric in metrics if metric["name"].startswith("tcplife.")],
    )


@pytest.fixture(
    scope="module",
    params=[
        ["opentelemetry-instrument", "python", APPLICATION],
        ["python", "-c", f"{_CONFIGURE}; {_THE_LINE_THAT_HELPS}; {_RUN}"],
    ],
    ids=["opentelemetry-instrument", "configure_azure_monitor"],
)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return _run(request.param, tmp_path_factory.mktemp("azure"))


def _ports(trace: dict[str, Any]) -> tuple[int, int]:
    return int(trace["properties"]["network.local.port"]), int(trace["properties"]["network.peer.port"])


def test_each_end_of_each_session_is_reported_once(outcome: Outcome) -> None:
    ends = outcome.ran.ends()
    traces = [trace for trace in outcome.traces if outcome.ran.port in _ports(trace)]
    assert sorted(map(_ports, traces)) == sorted(ends)
    for trace in traces:
        end = {name: str(value) for name, value in ends[_ports(trace)].items()}
        assert end.items() <= trace["properties"].items()
        assert " closed after " in trace["message"]
        assert trace["severityLevel"] == 1


def test_the_failed_connect_is_reported_once(outcome: Outcome) -> None:
    [trace] = [trace for trace in outcome.traces if _ports(trace)[1] == outcome.ran.refused]
    assert " connect failed with ECONNREFUSED " in trace["message"]
    assert trace["properties"]["error.type"] == "ECONNREFUSED"
    assert trace["severityLevel"] == 2


def test_the_metrics_are_those_of_the_records(outcome: Outcome) -> None:
    for name, properties, attribute in (
        ("tcplife.session.duration", {}, "tcplife.session.duration"),
        ("tcplife.handshake.duration", {}, "tcplife.handshake.duration"),
        ("tcplife.session.rtt", {}, "tcplife.rtt.smoothed"),
        ("tcplife.session.io", {"network.io.direction": "transmit"}, "tcplife.bytes.sent"),
        ("tcplife.session.io", {"network.io.direction": "receive"}, "tcplife.bytes.received"),
    ):
        values = [float(t["properties"][attribute]) for t in outcome.traces if attribute in t["properties"]]
        metrics = [m for m in outcome.metrics if m["name"] == name and properties.items() <= m["properties"].items()]
        assert values
        assert sum(metric["count"] for metric in metrics) == len(values)
        assert sum(metric["value"] for metric in metrics) == pytest.approx(sum(values), rel=1e-9)


def test_the_balance_holds(outcome: Outcome) -> None:
    records = len(outcome.traces)
    assert _by_outcome(outcome, "tcplife.export.records") == {"exported": records}
    assert _by_outcome(outcome, "tcplife.probe.sessions") == {"submitted": records}


def _by_outcome(outcome: Outcome, name: str) -> dict[str, int]:
    """The sum of each outcome that there was."""
    sums: Counter[str] = Counter()
    for metric in outcome.metrics:
        if metric["name"] == name:
            sums[metric["properties"]["tcplife.outcome"]] += metric["value"]
    return dict(+sums)


def test_the_user_is_told_nothing(outcome: Outcome) -> None:
    outcome.ran.assert_said_nothing_of_ours()


def test_configure_azure_monitor_by_itself_loads_no_plugin(tmp_path: Path) -> None:
    outcome = _run(["python", "-c", f"{_CONFIGURE}; {_RUN}"], tmp_path)
    assert (outcome.traces, outcome.metrics) == ([], [])
    outcome.ran.assert_said_nothing_of_ours()
