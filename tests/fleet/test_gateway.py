"""What each host sends goes to one backend, and the hosts are spread over all of them."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from pathlib import Path

from tests.support.collector import FLEET, Collector
from tests.support.host_agent import COMMAND

_HOSTS = [f"host-{number}" for number in range(20)]
_SESSIONS = 50
_RECORDING = "".join(
    ["PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS\n"]
    + [f"{number},curl,4,10.0.0.1,{40000 + number},10.0.0.2,80,1,2,3.5\n" for number in range(1, _SESSIONS + 1)]
)


def test_each_host_has_one_backend(fleet_collector: Path, tmp_path: Path) -> None:
    """The chance that all hosts have the same one, and this fails, is 1 in 2 ** 19."""
    recording = tmp_path / "recording"
    recording.write_text(_RECORDING)
    with Collector(tmp_path / "a") as first, Collector(tmp_path / "b") as second:
        addresses = ", ".join(each.grpc_endpoint.removeprefix("http://") for each in (first, second))
        environ = {"OTEL_TCPLIFE_COLLECTOR_BACKENDS": f"[{addresses}]"}
        with Collector(
            tmp_path / "gateway", config=FLEET / "gateway.yaml", binary=fleet_collector, env=environ
        ) as gateway:
            for host in _HOSTS:
                variables = {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": gateway.http_endpoint,
                    "OTEL_RESOURCE_ATTRIBUTES": f"host.name={host}",
                }
                replay = [COMMAND, "--replay", str(recording), "--no-table"]
                subprocess.run(replay, env={**os.environ, **variables}, check=True, capture_output=True)
        for backend in (first, second):
            backend.stop()
        found: defaultdict[str, list[int]] = defaultdict(list)
        for number, backend in enumerate((first, second)):
            hosts = [str(log.resource["host.name"]) for log in backend.logs()]
            hosts_of_points = {str(point.resource["host.name"]) for point in backend.metrics()}
            assert hosts_of_points == {*hosts}
            for host in {*hosts}:
                assert hosts.count(host) == _SESSIONS
                found[host].append(number)
    assert {*found} == {*_HOSTS}
    assert {len(backends) for backends in found.values()} == {1}
    assert {backend for [backend] in found.values()} == {0, 1}
