"""The command as a user runs it on the real kernel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from otel_tcplife.replay.source import ReplaySource
from tests.support.collector import Collector, otelcol
from tests.support.host_agent import COMMAND
from tests.support.host_agent import HostAgent as Agent
from tests.support.received import ReceivedLog, read_otlp_json_lines
from tests.support.tls import make_tls
from tests.support.traffic import Traffic


def _logs(directory: Path) -> list[ReceivedLog]:
    return read_otlp_json_lines(directory / "logs.jsonl").logs


def _ports(logs: list[ReceivedLog]) -> list[tuple[int, int]]:
    return [log.ports for log in logs]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_any_configuration_it_writes_files_and_says_so(
    traffic: Traffic, tmp_path: Path, number: signal.Signals
) -> None:
    with Agent(cwd=tmp_path) as agent:
        made = traffic.sessions(4)
        assert agent.stop(number) == 0
    assert "otel-tcplife: tracing; OTLP JSON Lines to ./otel-tcplife-data" in agent.said
    logs = _logs(tmp_path / "otel-tcplife-data")
    assert sum(traffic.port in ports for ports in _ports(logs)) == made
    header, *rows = agent.printed
    assert header.split() == ["PID", "COMM", "LADDR", "LPORT", "RADDR", "RPORT", "TX_KB", "RX_KB", "MS"]
    assert sum(str(traffic.port) in (row.split()[3], row.split()[5]) for row in rows) == made


def test_a_second_run_appends(traffic: Traffic, tmp_path: Path) -> None:
    for _ in range(2):
        with Agent(["--otlp-file", str(tmp_path), "--no-table"]):
            traffic.sessions(1)
    assert sum(traffic.port in ports for ports in _ports(_logs(tmp_path))) == 4
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line).keys() == {"resourceMetrics"}


@pytest.mark.parametrize("option", ["-L", "-D"])
def test_port_filters(traffic: Traffic, tmp_path: Path, option: str) -> None:
    with Agent([option, f"1,{traffic.port}", "--otlp-file", str(tmp_path)]) as agent:
        made = traffic.sessions(3)
        agent.stop()
    ports = _ports(_logs(tmp_path))
    assert len(ports) == made // 2
    assert all(pair[option == "-D"] == traffic.port for pair in ports)
    assert any("filtered" in line for line in agent.said)


def test_pid_filter_selects_the_owner(traffic: Traffic, tmp_path: Path) -> None:
    """A child's session with this process: each end has another owner."""
    program = f"import socket; socket.create_connection(('127.0.0.1', {traffic.port})).recv(1)"
    with Agent(["-p", str(os.getpid()), "--otlp-file", str(tmp_path)]):
        with subprocess.Popen(["/usr/bin/python3", "-c", program]) as child:
            accepted = traffic.accept()
            accepted.close()
        traffic.sessions(1)
    logs = _logs(tmp_path)
    assert {log.attributes["process.pid"] for log in logs} == {os.getpid()}
    assert child.pid != os.getpid()
    assert len([log for log in logs if traffic.port in _ports([log])[0]]) == 3


@pytest.mark.parametrize(("option", "kept"), [("-4", "ipv4"), ("-6", "ipv6")])
def test_family_filters(tmp_path: Path, option: str, kept: str) -> None:
    both = {"ipv4": Traffic("127.0.0.1"), "ipv6": Traffic("::1")}
    with Agent([option, "--otlp-file", str(tmp_path)]):
        for made in both.values():
            made.sessions(2)
    for made in both.values():
        made.close()
    logs = _logs(tmp_path)
    assert {log.attributes["network.type"] for log in logs} == {kept}
    assert sum(both[kept].port in pair for pair in _ports(logs)) == 4


def _open_sessions() -> int:
    """About how many there are, of all processes in this network namespace."""
    rows = [row for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return sum(row.split()[3] == "01" for row in rows)  # ESTABLISHED


def test_a_filtered_trace_leaves_nothing_in_the_maps(traffic: Traffic, tmp_path: Path) -> None:
    # Sessions of others that are open have a place in the map, too
    places = {"OTEL_PYTHON_TCPLIFE_MAX_SESSIONS": str(100 + _open_sessions())}
    with Agent(["-L", "1", "--otlp-file", str(tmp_path)], places) as agent:
        made = traffic.sessions(400)
        agent.stop()
    [balance] = [line for line in agent.said if "sessions ended" in line]
    assert "map_full" not in balance
    assert int(balance.split()[1]) >= made


def test_csv_can_be_replayed(traffic: Traffic, tmp_path: Path) -> None:
    with Agent(["-stT", "--otlp-file", str(tmp_path / "live")], cwd=tmp_path) as agent:
        traffic.sessions(5)
        agent.stop()
    recording = tmp_path / "recording.csv"
    recording.write_text("\n".join(agent.printed) + "\n")
    source = ReplaySource(str(recording))
    batch = source.read()
    source.close()
    assert (len(batch), source.summary.reasons) == (len(agent.printed) - 1, [])
    command = [COMMAND, "--replay", str(recording), "--otlp-file", str(tmp_path / "replayed")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    live, replayed = _logs(tmp_path / "live"), _logs(tmp_path / "replayed")
    assert f"otel-tcplife: file: {len(live)} exported" in done.stderr
    same = ("network.type", "network.local.address", "network.peer.address", "process.pid", "tcplife.comm")
    for one, other in zip(live, replayed, strict=True):
        assert _ports([one]) == _ports([other])
        assert {key: one.attributes.get(key) for key in same} == {key: other.attributes.get(key) for key in same}
        assert abs(one.time_unix_nano - other.time_unix_nano) < 1_100_000_000


def test_its_own_connections_are_never_traced(tmp_path: Path) -> None:
    if otelcol() is None:
        pytest.skip("there is no Go to build the Collector with")
    with Collector(tmp_path) as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http_endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "100"}
        port = int(collector.http_endpoint.rpartition(":")[2])
        with Agent(["--no-table"], environment) as agent, subprocess.Popen(["sleep", "1"]) as pause:
            pause.wait()
        collector.stop()
        assert collector.metrics()
        assert not [log for log in collector.logs() if log.attributes.get("process.pid") == agent.pid]
        assert not [ports for ports in _ports(collector.logs()) if port in ports]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_logs_and_metrics_over_mutual_tls(traffic: Traffic, tmp_path: Path, protocol: str) -> None:
    if otelcol() is None:
        pytest.skip("there is no Go to build the Collector with")
    tls = make_tls(tmp_path)
    with Collector(tmp_path / "out", tls=tls, mutual_tls=True) as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": (collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint),
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tls.ca),
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(tls.client_cert),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(tls.client_key),
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            # Whichever stands here would come before the certificate in the SDK's exporter of metrics
            "REQUESTS_CA_BUNDLE": "",
            "CURL_CA_BUNDLE": "",
        }
        with Agent(["--no-table"], environment) as agent:
            made = traffic.sessions(3)
            agent.stop()
        assert not [line for line in agent.said if "cannot" in line]
        collector.stop()
        assert sum(traffic.port in ports for ports in _ports(collector.logs())) == made
        assert "tcplife.session.duration" in {point.name for point in collector.metrics()}


def test_other_exporters_are_those_of_the_sdk(traffic: Traffic, tmp_path: Path) -> None:
    environment = {"OTEL_LOGS_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"}
    with Agent(["--no-table"], environment, cwd=tmp_path) as agent:
        made = traffic.sessions(2)
        agent.stop()
    printed = "\n".join(agent.printed)
    assert printed.count('"event_name": "tcplife.session.closed"') >= made
    assert '"name": "tcplife.session.duration"' in printed
    assert '"name": "tcplife.probe.sessions"' in printed
    assert not (tmp_path / "otel-tcplife-data").exists()


def test_the_table_ends_with_its_reader(traffic: Traffic, tmp_path: Path) -> None:
    """As in `otel-tcplife | head -1`."""
    shell = f'exec 3>&1; "{COMMAND}" --otlp-file "{tmp_path}" | head -1 >&3'
    with subprocess.Popen(["bash", "-c", shell], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline().startswith("PID")
        assert "tracing" in running.stderr.readline()
        traffic.sessions(2)
        said = running.stderr.read()
    assert "Traceback" not in said
    assert "sessions ended" in said
