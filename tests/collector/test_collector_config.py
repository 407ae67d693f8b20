"""The configurations in collector-config/ in the real Collector, and the collectors that other tests send to."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.otlp.line_file import FileLimits, LineFile
from tests.support import any_collector
from tests.support.background_process import accepts
from tests.support.collector import AGENT_CONFIG, OTLP_FILE_CONFIG, Collector, FileForwarder, otelcol
from tests.support.patience import PATIENCE
from tests.support.received import ReceivedLog, ReceivedPoint
from tests.support.rotel import Rotel
from tests.support.tls import make_tls

_BUILD = AGENT_CONFIG.with_name("build")
_CONFIGS = sorted(set(_BUILD.parent.glob("*.yaml")) - {_BUILD.with_name("manifest.yaml")})

_RESOURCE = {"service.name": "sender", "process.command_args": ["sender", "--fast"]}
_LOG = ReceivedLog(
    event_name="thing.happened",
    time_unix_nano=1_700_000_000_123_456_789,
    observed_time_unix_nano=1_700_000_001_000_000_000,
    severity_number=13,
    severity_text="WARN",
    body="it happened",
    attributes={"text": "täxt", "int": 2**40, "float": 0.25, "bool": False},
    resource={"service.name": "sender", "process.command_args": ["sender", "--fast"]},
    scope_name="scope",
    scope_version="1.2",
)


@pytest.fixture
def binary() -> Path:
    path = otelcol()
    if path is None:
        pytest.skip(f"there is no Go new enough to build the Collector with: {_BUILD} says which")
    return path


def _eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _send(collector: Collector | Rotel, protocol: str) -> None:
    """Sends one log record and a metric of each kind with the SDK's own exporters."""
    if protocol == "grpc":
        log_exporter = GrpcLogExporter(collector.grpc_endpoint)
        metric_exporter = GrpcMetricExporter(collector.grpc_endpoint)
    else:
        log_exporter = HttpLogExporter(f"{collector.http_endpoint}/v1/logs")
        metric_exporter = HttpMetricExporter(f"{collector.http_endpoint}/v1/metrics")
    loggers = LoggerProvider(Resource(_RESOURCE), shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(log_exporter))
    loggers.get_logger("scope", "1.2").emit(
        LogRecord(
            timestamp=_LOG.time_unix_nano,
            observed_timestamp=_LOG.observed_time_unix_nano,
            severity_number=SeverityNumber.WARN,
            severity_text=_LOG.severity_text,
            body=_LOG.body,
            attributes=_LOG.attributes,
            event_name=_LOG.event_name,
        )
    )
    loggers.shutdown()

    # With no interval there is only the one export that is asked for.
    reader = PeriodicExportingMetricReader(metric_exporter, export_interval_millis=math.inf)
    exponential = View(
        instrument_type=Histogram,
        instrument_name="size",
        aggregation=ExponentialBucketHistogramAggregation(max_scale=0),
    )
    meters = MeterProvider([reader], Resource(_RESOURCE), shutdown_on_exit=False, views=[exponential])
    meter = meters.get_meter("scope", "1.2")
    attributes = {"kind": "a"}
    duration = meter.create_histogram("duration", "s", "How long.", explicit_bucket_boundaries_advisory=[1.0, 2.5])
    for seconds in (0.5, 2.5, 3.0):
        duration.record(seconds, attributes)
    size = meter.create_histogram("size", "By")
    for octets in (0, 3, 4, 12, 24):
        size.record(octets)
    meter.create_counter("events", "{event}").add(7)
    meter.create_up_down_counter("active", "{session}").add(-2)
    meter.create_gauge("level").set(0.5)
    meters.force_flush()
    meters.shutdown()


def _check(collector: Collector | Rotel) -> None:
    """Asserts that the stopped collector got what _send sends, once, field by field."""
    assert collector.logs() == [_LOG]

    points = {point.name: point for point in collector.metrics()}
    assert len(points) == len(collector.metrics())
    now = time.time_ns()
    for point in points.values():
        assert now - 60 * 10**9 < point.time_unix_nano < now
        assert point.kind == "gauge" or now - 60 * 10**9 < point.start_time_unix_nano < point.time_unix_nano
    timeless = {
        name: dataclasses.replace(point, start_time_unix_nano=0, time_unix_nano=0) for name, point in points.items()
    }
    empty = ReceivedPoint(
        name="",
        unit="",
        description="",
        kind="gauge",
        temporality=0,
        monotonic=None,
        attributes={},
        start_time_unix_nano=0,
        time_unix_nano=0,
        value=None,
        count=None,
        sum=None,
        min=None,
        max=None,
        bucket_counts=[],
        explicit_bounds=[],
        scale=None,
        zero_count=None,
        bucket_offset=None,
        resource=_LOG.resource,
        scope_name="scope",
        scope_version="1.2",
    )
    counting = dataclasses.replace(empty, kind="sum", temporality=2)
    assert timeless == {
        "duration": dataclasses.replace(
            empty,
            name="duration",
            unit="s",
            description="How long.",
            kind="histogram",
            temporality=2,
            attributes={"kind": "a"},
            count=3,
            sum=6.0,
            min=0.5,
            max=3.0,
            bucket_counts=[1, 1, 1],
            explicit_bounds=[1.0, 2.5],
        ),
        "size": dataclasses.replace(
            empty,
            name="size",
            unit="By",
            kind="exponential_histogram",
            temporality=2,
            count=5,
            sum=43.0,
            min=0.0,
            max=24.0,
            scale=0,
            zero_count=1,
            bucket_offset=1,
            bucket_counts=[2, 0, 1, 1],
        ),
        "events": dataclasses.replace(counting, name="events", unit="{event}", monotonic=True, value=7),
        "active": dataclasses.replace(counting, name="active", unit="{session}", monotonic=False, value=-2),
        "level": dataclasses.replace(empty, name="level", value=0.5),
    }


@pytest.mark.parametrize("config", _CONFIGS, ids=lambda config: config.name)
def test_the_collector_takes_the_configuration(binary: Path, config: Path) -> None:
    validation = subprocess.run([binary, "validate", "--config", config], check=False, capture_output=True, text=True)
    assert (validation.returncode, validation.stderr) == (0, "")


def test_all_configurations_are_known_here() -> None:
    assert sorted([AGENT_CONFIG, OTLP_FILE_CONFIG]) == _CONFIGS


@pytest.mark.usefixtures("binary")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_collector_receives(tmp_path: Path, protocol: str) -> None:
    with Collector(tmp_path / "new") as collector:
        _send(collector, protocol)
        collector.stop()
        _check(collector)


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
        _send(collector, protocol)
        collector.stop()
        _check(collector)


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
            _send(agent, "http")
            agent.stop()
            _check(agent)
        upstream.stop()
        _check(upstream)


@pytest.mark.usefixtures("binary")
def test_the_file_configuration_sends_on_each_whole_line_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with Collector(source) as writer:
        _send(writer, "http")
    with Collector(tmp_path / "upstream") as upstream:
        with FileForwarder(source, upstream=upstream.http_endpoint, state=tmp_path / "state"):
            _eventually(lambda: bool(upstream.logs() and upstream.metrics()))
        line = (source / "logs.jsonl").read_text()
        with (source / "logs.jsonl").open("a") as growing:
            growing.write(line[:100])
            growing.flush()
            with FileForwarder(source, upstream=upstream.http_endpoint, state=tmp_path / "state"):
                # Longer than the half second after which the receiver's default takes half a line for a whole one.
                time.sleep(1)
                growing.write(line[100:])
                growing.flush()
                _eventually(lambda: len(upstream.logs()) > 1)
        upstream.stop()
        assert upstream.logs() == [_LOG, _LOG]
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
            _eventually(lambda: len(upstream.logs()) == 1)
            file.rename(tmp_path / "logs.1.jsonl")
            file.write_text(line(2))
            _eventually(lambda: len(upstream.logs()) == 2)
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
                _eventually(lambda end=end: len(upstream.logs()) >= end - 1000)
        upstream.stop()
        assert sorted(log.time_unix_nano for log in upstream.logs()) == list(range(1000, 1012))


@pytest.mark.usefixtures("binary")
def test_what_the_collector_says_is_told_where_it_cannot_start(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("receivers: {nonsense: {}}")
    with pytest.raises(RuntimeError, match="nonsense"):
        Collector(tmp_path, config=wrong).__enter__()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_rotel_receives(tmp_path: Path, protocol: str) -> None:
    with Rotel(tmp_path / "new") as rotel:
        _send(rotel, protocol)
        rotel.stop()
        _check(rotel)


@pytest.mark.parametrize("kind", [Collector, Rotel])
def test_a_collector_is_there_with_go_and_without(
    kind: type[Collector | Rotel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(any_collector, "otelcol", {Collector: lambda: Path("otelcol"), Rotel: lambda: None}[kind])
    assert any_collector.collector_class() is kind


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
    _eventually(lambda: not accepts(port))


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
