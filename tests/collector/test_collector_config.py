"""The configurations in collector-config/ in the real Collector, and the collectors that other tests send to."""

from __future__ import annotations

import json
import os
import platform
import signal
import ssl
import subprocess
import sys
import time
from http.client import HTTPSConnection
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from otel_tcplife.export.otlp.line_file import FileLimits, LineFile
from tests.collector.telemetry import LOG, check, send
from tests.support import any_collector
from tests.support.background_process import accepts
from tests.support.collector import AGENT_CONFIG, Collector, FileForwarder
from tests.support.own_collector import OwnCollector
from tests.support.patience import eventually
from tests.support.rotel import Rotel
from tests.support.tls import make_tls

_BUILD = AGENT_CONFIG.with_name("build")
_CONFIGS = sorted(set(_BUILD.parent.glob("*.yaml")) - {_BUILD.with_name("manifest.yaml")})


_HAS_ROTEL = pytest.mark.skipif(platform.machine() != "x86_64", reason="there is no Rotel for this machine")


@pytest.mark.parametrize("config", _CONFIGS, ids=lambda config: config.name)
def test_the_collector_takes_the_configuration(binary: Path, config: Path) -> None:
    validation = subprocess.run([binary, "validate", "--config", config], check=False, capture_output=True, text=True)
    assert (validation.returncode, validation.stderr) == (0, "")


@pytest.mark.usefixtures("binary")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_collector_receives(tmp_path: Path, protocol: str) -> None:
    with Collector(tmp_path / "new") as collector:
        send(collector, protocol)
        collector.stop()
        check(collector)


@pytest.mark.usefixtures("binary")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_collector_receives_over_mutual_tls(tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = make_tls(tmp_path)
    # The HTTP exporters of the SDK let these win over the authority that they are given.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tls.ca))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(tls.client_cert))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(tls.client_key))
    with Collector(tmp_path, tls=tls, mutual_tls=True) as collector:
        send(collector, protocol)
        collector.stop()
        check(collector)


@pytest.mark.usefixtures("binary")
def test_mutual_tls_refuses_who_has_no_certificate(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    with Collector(tmp_path, tls=tls, mutual_tls=True) as collector:
        context = ssl.create_default_context(cafile=tls.ca)
        connection = HTTPSConnection(urlsplit(collector.http_endpoint).netloc, context=context)
        connection.request("POST", "/v1/logs")
        with pytest.raises(ssl.SSLError, match="certificate required"):
            connection.getresponse()
        connection.close()


@pytest.mark.usefixtures("binary")
def test_the_collector_sends_on(tmp_path: Path) -> None:
    with Collector(tmp_path / "upstream") as upstream:
        env = {"OTEL_TCPLIFE_COLLECTOR_UPSTREAM_ENDPOINT": upstream.http_endpoint}
        with Collector(tmp_path / "agent", env=env) as agent:
            send(agent, "http")
            agent.stop()
            check(agent)
        upstream.stop()
        check(upstream)


@pytest.mark.usefixtures("binary")
def test_the_file_configuration_sends_on_each_whole_line_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with Collector(source) as writer:
        send(writer, "http")
    with Collector(tmp_path / "upstream") as upstream:
        with FileForwarder(source, upstream=upstream.http_endpoint, state=tmp_path / "state"):
            eventually(lambda: bool(upstream.logs() and upstream.metrics()))
        line = (source / "logs.jsonl").read_text()
        with (source / "logs.jsonl").open("a") as growing:
            growing.write(line[:100])
            growing.flush()
            with FileForwarder(source, upstream=upstream.http_endpoint, state=tmp_path / "state"):
                # Longer than the half second after which the receiver's default takes half a line for a whole one.
                time.sleep(1)
                growing.write(line[100:])
                growing.flush()
                eventually(lambda: len(upstream.logs()) > 1)
        upstream.stop()
        assert upstream.logs() == [LOG, LOG]
        assert upstream.metrics() == writer.metrics()


@pytest.mark.usefixtures("binary")
def test_the_file_configuration_tells_files_apart_that_start_the_same(tmp_path: Path) -> None:
    def line(moment: int) -> str:
        # Longer than the kilobyte by which the receiver's default knows a file again.
        resource = {"attributes": [{"key": "long", "value": {"stringValue": "x" * 5000}}]}
        records = [{"timeUnixNano": str(moment)}]
        return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}) + "\n"

    file = tmp_path / "logs.jsonl"
    file.write_text(line(1))
    with Collector(tmp_path / "upstream") as upstream:
        with FileForwarder(tmp_path, upstream=upstream.http_endpoint, state=tmp_path / "state"):
            eventually(lambda: len(upstream.logs()) == 1)
            file.rename(tmp_path / "logs.1.jsonl")
            file.write_text(line(2))
            eventually(lambda: len(upstream.logs()) == 2)
        upstream.stop()
        assert [log.time_unix_nano for log in upstream.logs()] == [1, 2]


@pytest.mark.usefixtures("binary")
def test_the_file_configuration_reads_older_files_on_once(tmp_path: Path) -> None:
    """Those that were renamed while it runs, and while it does not."""

    def line(moment: int) -> bytes:
        records = [{"timeUnixNano": str(moment), "body": {"stringValue": "x" * 500}}]
        return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).encode() + b"\n"

    file = LineFile(tmp_path, "logs.jsonl", FileLimits(most_bytes=2 * len(line(1000)), kept=9))
    with Collector(tmp_path / "upstream") as upstream:
        for end, written_before in ((1005, 0), (1012, 5)):
            moments = range(1000 + len(upstream.logs()), end)
            for moment in moments[:written_before]:
                file.append(line(moment))
            with FileForwarder(tmp_path, upstream=upstream.http_endpoint, state=tmp_path / "state"):
                for moment in moments[written_before:]:
                    file.append(line(moment))
                eventually(lambda end=end: len(upstream.logs()) >= end - 1000)
        upstream.stop()
        assert sorted(log.time_unix_nano for log in upstream.logs()) == list(range(1000, 1012))


@pytest.mark.usefixtures("binary")
def test_what_the_collector_says_is_told_where_it_cannot_start(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("receivers: {nonsense: {}}")
    with pytest.raises(RuntimeError, match="nonsense"):
        Collector(tmp_path, config=wrong).__enter__()


@pytest.mark.parametrize("kind", [pytest.param(Rotel, marks=_HAS_ROTEL), OwnCollector])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_stands_in_for_it_receives(tmp_path: Path, protocol: str, kind: type[Rotel | OwnCollector]) -> None:
    with kind(tmp_path / "new") as collector:
        send(collector, protocol)
        collector.stop()
        check(collector)


@pytest.mark.parametrize("kind", [Collector, pytest.param(Rotel, marks=_HAS_ROTEL), OwnCollector])
def test_a_collector_is_there_with_go_and_without(
    kind: type[Collector | Rotel | OwnCollector], monkeypatch: pytest.MonkeyPatch
) -> None:
    def distribution(name: str) -> None:
        if kind is OwnCollector:
            raise PackageNotFoundError(name)

    monkeypatch.setattr(any_collector, "otelcol", lambda: Path("otelcol") if kind is Collector else None)
    monkeypatch.setattr(any_collector, "distribution", distribution)
    assert any_collector.collector_class() is kind


@_HAS_ROTEL
def test_a_killed_test_run_leaves_no_collector(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from tests.support.rotel import Rotel\n"
        "with Rotel(pathlib.Path(sys.argv[1])) as rotel:\n"
        "    print(rotel.http_endpoint.rpartition(':')[2], flush=True)\n"
        "    time.sleep(600)\n"
    )
    root = _BUILD.parents[1]
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        port = int(run.stdout.readline())
        assert accepts(port)
        os.kill(run.pid, signal.SIGKILL)
    eventually(lambda: not accepts(port))


@pytest.mark.parametrize(
    ("go", "status", "said"),
    [
        ("exit 127", 1, "go not found: install Go 1.25 or newer"),
        ("echo go1.19.8", 1, "go1.19.8 is too old: install Go 1.25 or newer"),
        ('[ "$1" = env ] && echo go1.25.0', 2, "building Collector"),
    ],
    ids=["no Go", "an old Go", "a failing build"],
)
def test_the_build_says_what_it_lacks_and_leaves_nothing(tmp_path: Path, go: str, status: int, said: str) -> None:
    fake = tmp_path / "go"
    fake.write_text(f"#!/bin/sh\n{go}\n")
    fake.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    build = subprocess.run([_BUILD], check=False, capture_output=True, text=True, env=env)
    assert (build.returncode, build.stdout) == (status, "")
    assert said in build.stderr
    assert build.stderr.count("\n") == 1
    assert not list(tmp_path.glob("cache/*/*"))
