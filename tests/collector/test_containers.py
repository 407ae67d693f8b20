"""containers.yaml has what the plugin says of sessions of a container below a resource of that container."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.actor import run_actor
from tests.support.collector import CONTAINERS_CONFIG, Collector
from tests.support.helpers import helpers_of, wait_until_ended
from tests.support.otlp_receiver import FileReceiver
from tests.support.place import cgroup, move
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import read_otlp_json_lines

_INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
_ID, _UID = "c" * 64, "8a1f6d8e-6c7e-4f5c-9d0d-d3a2e5b8c111"
_PATH = f"kubepods/pod{_UID}/{_ID}"


@pytest.mark.usefixtures("binary")
@pytest.mark.parametrize("export", ["helper", "providers"])
def test_the_container_is_the_resource(export: str, tmp_path: Path) -> None:
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    with FileReceiver(upstream) as receiver:
        environ = {"OTEL_TCPLIFE_COLLECTOR_UPSTREAM_ENDPOINT": receiver.endpoint}
        with Collector(tmp_path / "collector", config=CONTAINERS_CONFIG, env=environ) as collector:
            session = _played(collector.http_endpoint, export)
    logs = read_otlp_json_lines(upstream / "logs.jsonl").logs
    ports = session.client_port, session.server_port
    [client], [server] = ([log for log in logs if log.ports == each] for each in (ports, ports[::-1]))
    assert (client.resource["container.id"], client.resource["k8s.pod.uid"]) == (_ID, _UID)
    assert "container.id" not in client.attributes
    assert "container.id" not in {**server.resource, **server.attributes}
    assert [log.resource["service.name"] for log in (client, server)] == ["app", "app"]


def _played(endpoint: str, export: str) -> Session:
    """A session between an application in a container and one outside of any."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "app",
        "OTEL_PYTHON_TCPLIFE_EXPORT": export,
    }
    run = ["env", *(f"{name}={value}" for name, value in variables.items()), _INSTRUMENT]
    with (
        cgroup(_PATH) as container,
        run_actor(CLIENT, run=run, isolated=False) as client,
        run_actor(SERVER, run=run, isolated=False) as server,
    ):
        move(client.pid, container)
        session = Session(FAMILIES[0], client, server)
        session.open()
        client.tell("close", "c")
        server.tell("receive", "s", 1)
        server.tell("close", "s")
        for actor in (client, server):
            actor.end()
        for helper in [helper for actor in (client, server) for helper in helpers_of(actor.pid)]:
            wait_until_ended(helper)
    return session
