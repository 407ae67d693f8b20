"""The agent's configuration file, and the variables that turn it or this plugin off.

A file has its instrumentations loaded once, and `opentelemetry-instrument` then loads all that are installed.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.distros.environments import environment
from tests.distros.instrumented import APPLICATION, Ran, run
from tests.distros.receiver import Receiver
from tests.support.background_process import free_ports
from tests.support.patience import PATIENCE
from tests.support.received import Received, ReceivedLog, Scalar

_AGENTS = {
    "newest": ["opentelemetry-distro==0.66b2", "opentelemetry-configuration==0.66b2"],
    "splunk": ["splunk-opentelemetry==2.13.2"],
}


@dataclass
class Outcome:
    """What was done under the agent, and all that came of it."""

    ran: Ran
    received: Received

    def ends(self) -> list[tuple[Scalar, Scalar]]:
        """Local and peer port of each end of the application's sessions with itself that was reported."""
        ports = [_ports(log) for log in self.received.logs if log.event_name == "tcplife.session.closed"]
        return sorted(pair for pair in ports if self.ran.port in pair)

    def of_ours(self) -> list[str]:
        """Our lines on standard error."""
        return [line for line in self.ran.said.splitlines() if "tcplife" in line]


def _ports(log: ReceivedLog) -> tuple[Scalar, Scalar]:
    return log.attributes["network.local.port"], log.attributes["network.peer.port"]


@dataclass
class Agent:
    """An agent, and where its telemetry goes."""

    binaries: Path
    receiver: Receiver
    directory: Path

    def run(
        self,
        *,
        tcplife: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] = {},
        port: int = 0,
        meanwhile: Callable[[int], None] = lambda port: None,
        **file: Any,
    ) -> Outcome:
        """Run the application, with a file that says this of tcplife, and this besides."""
        path = self.directory / "agent.yaml"
        path.write_text(json.dumps({**self._file(tcplife), **file}))  # which is YAML, too
        return self._run({"OTEL_CONFIG_FILE": str(path), **environ}, port, meanwhile)

    def run_without_file(self, environ: Mapping[str, str]) -> Outcome:
        """Run the application."""
        return self._run({"OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.grpc_endpoint, **environ}, 0, lambda port: None)

    def _run(self, environ: Mapping[str, str], port: int, meanwhile: Callable[[int], None]) -> Outcome:
        command = ["opentelemetry-instrument", "python", APPLICATION, str(port)]
        ran = run(self.binaries, command, environ, self.directory, meanwhile)
        return Outcome(ran, self.receiver.received())

    def _file(self, tcplife: Mapping[str, Any] | None) -> dict[str, Any]:
        def exporter(signal: str) -> dict[str, Any]:
            return {"exporter": {"otlp_http": {"endpoint": f"{self.receiver.http_endpoint}/v1/{signal}"}}}

        return {
            "file_format": "1.0",
            "logger_provider": {"processors": [{"batch": {"schedule_delay": 100, **exporter("logs")}}]},
            "meter_provider": {"readers": [{"periodic": exporter("metrics")}]},
            "instrumentation/development": {"python": {} if tcplife is None else {"tcplife": tcplife}},
        }


@pytest.fixture(params=_AGENTS)
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agent]:
    with ExitStack() as started:
        binaries = started.enter_context(environment(request.param, _AGENTS[request.param]))
        yield Agent(binaries, started.enter_context(Receiver()), tmp_path)


@pytest.mark.parametrize("tcplife", [None, {"enabled": True}], ids=["not named", "named"])
def test_each_session_is_reported_once_however_often_the_plugin_is_loaded(
    agent: Agent, tcplife: dict[str, Any] | None
) -> None:
    outcome = agent.run(tcplife=tcplife)
    assert outcome.ends() == sorted(outcome.ran.ends())
    assert {point.name for point in outcome.received.points} >= {"tcplife.session.duration", "tcplife.probe.sessions"}
    assert "already instrumented" not in outcome.ran.said
    outcome.ran.assert_said_nothing_of_ours()


def test_options_of_the_file_select_sessions(agent: Agent) -> None:
    [port] = free_ports(1)
    outcome = agent.run(tcplife={"local_ports": [port], "ip_version": 4}, port=port)
    assert outcome.ends() == sorted(end for end in outcome.ran.ends() if end[0] == port)
    assert {log.attributes["network.local.port"] for log in outcome.received.logs} == {port}
    outcome.ran.assert_said_nothing_of_ours()


def test_options_of_the_file_select_log_records(agent: Agent) -> None:
    options = {"log_min_bytes": 1 << 40, "community_id": True, "event_name_attribute": True, "log_sample": 0.5}
    outcome = agent.run(tcplife=options)
    assert outcome.ends() == []
    assert {point.name for point in outcome.received.points} >= {"tcplife.session.duration", "tcplife.export.records"}
    [port] = free_ports(1)
    kept = agent.run(tcplife={**options, "log_min_bytes": 0, "log_sample": 1, "local_ports": [port]}, port=port)
    assert kept.ends() == sorted(end for end in kept.ran.ends() if end[0] == port)
    for log in kept.received.logs:
        assert str(log.attributes["network.community_id"]).startswith("1:")
        assert log.attributes["otel.event.name"] == log.event_name
    kept.ran.assert_said_nothing_of_ours()


def test_options_of_the_file_ask_for_interim_reports(agent: Agent) -> None:
    reported: list[ReceivedLog] = []

    def hold_a_session_open(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as held:
            deadline = time.monotonic() + PATIENCE
            while not reported and time.monotonic() < deadline:
                time.sleep(0.05)
                logs = agent.receiver.received().logs
                reported.extend(log for log in logs if _ports(log) == (port, held.getsockname()[1]))

    agent.run(tcplife={"interim": 0.1}, meanwhile=hold_a_session_open)
    assert reported[0].event_name == "tcplife.session.progress"


def test_options_that_cannot_be_are_one_line_and_no_tracing(agent: Agent) -> None:
    for tcplife, said in (
        ({"colour": "red"}, "there is no option 'colour'; use one of "),
        ({"scope": "galaxy"}, "scope: unknown scope 'galaxy'; use process or host"),
        ({"local_ports": [0]}, "local_ports: '0' is not a port; give a number from 1 to 65535"),
    ):
        outcome = agent.run(tcplife=tcplife)
        [line] = outcome.of_ours()
        assert f"otel-tcplife: cannot trace: {agent.directory / 'agent.yaml'}: {said}" in line
        assert "Traceback" not in outcome.ran.said
        assert outcome.received == Received()


def test_what_the_file_disables_is_not_loaded_afterwards(agent: Agent) -> None:
    _sees_nothing(agent.run(tcplife={"enabled": False}))
    _sees_nothing(agent.run(disabled=True))


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask, tcplife"},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
        {"OTEL_SDK_DISABLED": "true"},
    ],
    ids=lambda environ: " ".join(f"{name}={value}" for name, value in environ.items()),
)
def test_what_a_variable_disables_is_not_loaded(agent: Agent, environ: dict[str, str]) -> None:
    _sees_nothing(agent.run_without_file(environ))
    _sees_nothing(agent.run(tcplife={}, environ=environ))


def _sees_nothing(outcome: Outcome) -> None:
    assert outcome.received == Received()
    assert outcome.of_ours() == []
    assert "Traceback" not in outcome.ran.said
