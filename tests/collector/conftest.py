"""What more than one test of a configuration asks for: telemetry of real sessions, through the real Collector."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.collector import Collector, otelcol
from tests.support.elsewhere import Elsewhere, network_elsewhere
from tests.support.host_agent import HostAgent
from tests.support.otlp_receiver import FileReceiver
from tests.support.received import Received, read_otlp_json_lines


@pytest.fixture
def binary() -> Path:
    """The Collector's; where there is no Go to build it, no test of a configuration runs."""
    path = otelcol()
    if path is None:
        pytest.skip("there is no Go new enough to build the Collector with: collector-config/build says which")
    return path


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Sessions that are not on loopback."""
    with network_elsewhere() as made:
        yield made


@dataclass
class Through:
    """What has come through a Collector to its upstream."""

    directory: Path
    agent: HostAgent

    def finish(self) -> None:
        """Have the host agent deliver all, and end."""
        assert self.agent.stop() == 0

    def received(self) -> Received:
        """All of it so far."""
        logs, metrics = (
            read_otlp_json_lines(self.directory / f"{each}.jsonl", growing=True) for each in ("logs", "metrics")
        )
        return Received(logs.logs, metrics.points)


@contextmanager
def host_through(config: Path, directory: Path, env: Mapping[str, str] = {}) -> Generator[Through]:
    """The host agent sends to a Collector with this configuration, which sends on; all is delivered at the end."""
    upstream = directory / "upstream"
    upstream.mkdir()
    with FileReceiver(upstream) as receiver:
        variables = {"OTEL_TCPLIFE_COLLECTOR_UPSTREAM_ENDPOINT": receiver.endpoint, **env}
        with (
            Collector(directory / "collector", config=config, env=variables) as collector,
            HostAgent(["--no-table"], {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http_endpoint}) as agent,
        ):
            through = Through(upstream, agent)
            yield through
            through.finish()
