"""The agents that people have, each as it is installed from PyPI, and an application under it.

What each needs to be told stands in AGENTS; where that is more than an endpoint, the comment says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from otel_tcplife.conventions import SCOPE
from otel_tcplife.instruments import HISTOGRAMS
from otel_tcplife.version import __version__
from tests.distros.environments import environment
from tests.distros.instrumented import APPLICATION, Ran, run
from tests.distros.receiver import Receiver
from tests.support.received import Received, ReceivedLog, ReceivedPoint, Scalar

_DELTA, _CUMULATIVE = 1, 2


@dataclass(frozen=True)
class Agent:
    """What is installed, what it is told, and what is its own in that which comes of it."""

    name: str
    requirements: Sequence[str]
    resource: Mapping[str, Scalar]
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    """GRPC and HTTP stand for the receiver's endpoints."""
    temporality: int = _CUMULATIVE
    exponential: bool = False
    """Whether it has histograms without bounds, so that ours are not asked for."""


_OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "GRPC"}

AGENTS = (
    # opentelemetry-instrument 0.66 cannot be installed beside SDK 1.44, as each requires its own semantic conventions
    Agent(
        "sdk-1.44",
        ["opentelemetry-distro==0.65b0", "opentelemetry-exporter-otlp==1.44.0"],
        {"telemetry.sdk.version": "1.44.0", "telemetry.auto.version": "0.65b0"},
        _OTLP,
    ),
    Agent(
        "sdk-1.45.1",
        ["opentelemetry-distro==0.66b1", "opentelemetry-exporter-otlp==1.45.1"],
        {"telemetry.sdk.version": "1.45.1", "telemetry.auto.version": "0.66b1"},
        _OTLP,
    ),
    Agent(
        "newest",
        ["opentelemetry-distro==0.66b2", "opentelemetry-exporter-otlp==1.45.2"],
        {"telemetry.sdk.version": "1.45.2", "telemetry.auto.version": "0.66b2"},
        _OTLP,
    ),
    Agent(
        "splunk",
        ["splunk-opentelemetry==2.13.2"],
        {"telemetry.sdk.version": "1.45.1", "telemetry.distro.name": "splunk-opentelemetry"},
        _OTLP,
    ),
    Agent(
        "elastic",
        ["elastic-opentelemetry==1.18.0"],
        {"telemetry.sdk.version": "1.45.1", "telemetry.distro.name": "elastic"},
        _OTLP,
        temporality=_DELTA,
    ),
    Agent(
        "aws",
        ["aws-opentelemetry-distro==0.21.0"],
        {"telemetry.sdk.version": "1.44.0", "telemetry.auto.version": "0.21.0-aws"},
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "HTTP",
            # It requires opentelemetry-distro, too, and which of the two is taken is chance without these
            "OTEL_PYTHON_DISTRO": "aws_distro",
            "OTEL_PYTHON_CONFIGURATOR": "aws_configurator",
            # Without it, there is no logger provider, and no log record at all
            "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
        },
        exponential=True,
    ),
    Agent(
        "dash0",
        ["dash0-opentelemetry==0.3.1"],
        {"telemetry.sdk.version": "1.44.0", "telemetry.distro.name": "dash0-python"},
        {"DASH0_OTEL_COLLECTOR_BASE_URL": "HTTP"},  # without it, it disables itself; any other endpoint goes before it
    ),
)


@dataclass
class Outcome:
    """What was done under an agent, and all that came of it."""

    agent: Agent
    ran: Ran
    received: Received

    def points(self, name: str) -> list[ReceivedPoint]:
        """The data points that add up to what was measured in all."""
        points = [point for point in self.received.points if point.name == name]
        assert {point.temporality for point in points} == {self.agent.temporality}
        latest = max(point.time_unix_nano for point in points)
        return [p for p in points if self.agent.temporality == _DELTA or p.time_unix_nano == latest]


@pytest.fixture(scope="module", params=AGENTS, ids=lambda agent: agent.name)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    agent: Agent = request.param
    directory = tmp_path_factory.mktemp(agent.name)
    with environment(agent.name, agent.requirements) as binaries, Receiver() as receiver:
        endpoints = {"GRPC": receiver.grpc_endpoint, "HTTP": receiver.http_endpoint}
        environ = {name: endpoints.get(value, value) for name, value in agent.environ.items()}
        ran = run(binaries, ["opentelemetry-instrument", "python", APPLICATION], environ, directory)
        return Outcome(agent, ran, receiver.received())


def _ports(log: ReceivedLog) -> tuple[Scalar, Scalar]:
    return log.attributes["network.local.port"], log.attributes["network.peer.port"]


def test_each_end_of_each_session_is_reported_once(outcome: Outcome) -> None:
    ends = outcome.ran.ends()
    logs = [log for log in outcome.received.logs if outcome.ran.port in _ports(log)]
    assert sorted(map(_ports, logs)) == sorted(ends)
    for log in logs:
        end = {name: log.attributes.get(name) for name in ends[_ports(log)]}
        assert end == ends[_ports(log)]
        assert (log.event_name, log.severity_text) == ("tcplife.session.closed", "INFO")


def test_the_failed_connect_is_reported_once(outcome: Outcome) -> None:
    [log] = [log for log in outcome.received.logs if log.attributes["network.peer.port"] == outcome.ran.refused]
    assert (log.event_name, log.severity_text) == ("tcplife.connect.failed", "WARN")
    assert log.attributes["error.type"] == "ECONNREFUSED"
    assert log.attributes["process.pid"] == outcome.ran.pid


def test_the_histograms_are_those_of_the_records(outcome: Outcome) -> None:
    for name, attributes, attribute in (
        ("tcplife.session.duration", {}, "tcplife.session.duration"),
        ("tcplife.handshake.duration", {}, "tcplife.handshake.duration"),
        ("tcplife.session.rtt", {}, "tcplife.rtt.smoothed"),
        ("tcplife.session.io", {"network.io.direction": "transmit"}, "tcplife.bytes.sent"),
        ("tcplife.session.io", {"network.io.direction": "receive"}, "tcplife.bytes.received"),
    ):
        values = [float(log.attributes[attribute]) for log in outcome.received.logs if attribute in log.attributes]
        points = [point for point in outcome.points(name) if attributes.items() <= point.attributes.items()]
        assert sum(point.count or 0 for point in points) == len(values)
        assert sum(point.sum or 0 for point in points) == pytest.approx(sum(values), rel=1e-9)


def test_the_bounds_are_ours_where_the_agent_has_bounds(outcome: Outcome) -> None:
    for histogram in HISTOGRAMS:
        for point in outcome.points(histogram.name):
            assert point.unit == histogram.unit
            if outcome.agent.exponential:
                assert point.kind == "exponential_histogram"
            else:
                assert point.explicit_bounds == list(histogram.bounds)


def test_the_balance_holds(outcome: Outcome) -> None:
    records = len(outcome.received.logs)
    assert _by_outcome(outcome.points("tcplife.export.records")) == {"exported": records}
    assert _by_outcome(outcome.points("tcplife.probe.sessions")) == {"submitted": records}


def _by_outcome(points: list[ReceivedPoint]) -> dict[str, int]:
    """The sum of each outcome that there was."""
    sums: Counter[str] = Counter()
    for point in points:
        sums[str(point.attributes["tcplife.outcome"])] += int(point.value or 0)
    return dict(+sums)


def test_all_is_of_the_agents_resource_and_our_scope(outcome: Outcome) -> None:
    for received in [*outcome.received.logs, *outcome.received.points]:
        assert outcome.agent.resource.items() <= received.resource.items()
        assert "service.name" in received.resource
        assert (received.scope_name, received.scope_version) == (SCOPE, __version__)


def test_the_user_is_told_nothing(outcome: Outcome) -> None:
    outcome.ran.assert_said_nothing_of_ours()
