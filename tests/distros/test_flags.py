"""The flags that `opentelemetry-instrument` makes of our variables."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_tcplife import environment_variables
from tests.distros.environments import environment
from tests.distros.instrumented import APPLICATION, Ran, run
from tests.distros.receiver import Receiver
from tests.support.background_process import free_ports
from tests.support.received import ReceivedLog

_AGENTS = {
    "sdk-1.44": ["opentelemetry-distro==0.65b0", "opentelemetry-exporter-otlp==1.44.0"],
    "newest": ["opentelemetry-distro==0.66b2", "opentelemetry-exporter-otlp==1.45.2"],
}


@dataclass
class Agent:
    """An agent, and where its telemetry goes."""

    binaries: Path
    receiver: Receiver
    directory: Path

    def run(
        self, *flags: str, port: int = 0, meanwhile: Callable[[int], None] = lambda port: None
    ) -> tuple[Ran, list[ReceivedLog]]:
        """Run the application with flags of the agent."""
        # Of a host there may be more at once than the SDK's queue has room for, which drops them and says nothing
        endpoint = ["--exporter_otlp_endpoint", self.receiver.grpc_endpoint, "--blrp_max_queue_size", "1000000"]
        command = ["opentelemetry-instrument", *endpoint, *flags, "python", APPLICATION, str(port)]
        ran = run(self.binaries, command, {}, self.directory, meanwhile)
        return ran, self.receiver.received().logs


@pytest.fixture(params=_AGENTS)
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agent]:
    with ExitStack() as started:
        binaries = started.enter_context(environment(request.param, _AGENTS[request.param]))
        yield Agent(binaries, started.enter_context(Receiver()), tmp_path)


def test_there_is_one_for_each_variable(agent: Agent) -> None:
    command = ["opentelemetry-instrument", "--help"]
    path = f"{agent.binaries}:{os.environ['PATH']}"
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": path})
    names = [name for name in vars(environment_variables) if name.startswith("OTEL_")]
    assert names
    for name in names:
        assert f"--{name.removeprefix('OTEL_PYTHON_').lower()} " in done.stdout


def test_they_select_sessions(agent: Agent) -> None:
    [port] = free_ports(1)
    ran, logs = agent.run("--tcplife_local_ports", str(port), "--tcplife_ip_version", "4", port=port)
    assert {log.attributes["network.local.port"] for log in logs} == {port}
    assert len(logs) == len(ran.sessions)
    ran.assert_said_nothing_of_ours()


def test_the_scope_of_the_host_has_what_others_do(agent: Agent) -> None:
    """This test does something itself, which the application sees unless somebody else collects on this host now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def make_a_session(_: int) -> None:
            with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
                pass

        ran, logs = agent.run("--tcplife_scope", "host", meanwhile=make_a_session)
    reported = [log.attributes["process.pid"] for log in logs if log.ports[1] == port and not log.is_elsewhere]
    assert reported == [os.getpid()] or "already traces this host; standing by" in ran.said
