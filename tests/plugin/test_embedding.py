"""Tracing that an application starts itself, on providers of its own."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from dataclasses import replace

import pytest
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

from otel_tcplife import embedded
from otel_tcplife import tracing as tracing_module
from otel_tcplife.errors import BadUsage
from otel_tcplife.instrumentor import TcplifeInstrumentor
from otel_tcplife.pipeline.limits import APPLICATION
from otel_tcplife.probe import loader
from otel_tcplife.tracing import start_tracing
from tests.plugin.providers import Providers
from tests.support.actor import run_actor
from tests.support.patience import eventually
from tests.support.traffic import Traffic


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


def test_this_process_on_given_providers(traffic: Traffic) -> None:
    providers = Providers()
    with start_tracing(logger_provider=providers.logs, meter_provider=providers.metrics) as tracing:
        assert tracing.is_tracing
        made = traffic.sessions(5)
    assert not tracing.is_tracing
    assert traffic.sessions(1) == 2
    records = providers.records(traffic.port)
    assert len(records) == made
    assert {record["process.pid"] for record in records} == {os.getpid()}
    assert sum(point.count for point in providers.points("tcplife.session.duration")) == made
    assert providers.outcomes("tcplife.probe.sessions") == {"submitted": made}
    assert providers.outcomes("tcplife.export.records") == {"exported": made}


def test_the_host_with_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not another process collects the sessions of this host now."""

    def none_does(before: int | None = None) -> bool:
        return False

    for module in (tracing_module, loader):
        monkeypatch.setattr(module, "is_host_traced", none_does)
    providers = Providers()
    with run_actor("act-client") as client, run_actor("act-server") as server:
        ports = [server.tell("listen", name, "127.0.0.1") for name in ("kept", "other")]
        with start_tracing(
            logger_provider=providers.logs, meter_provider=providers.metrics, scope="host", remote_ports=ports[:1]
        ) as tracing:
            assert tracing.is_tracing
            for name, port in zip(("kept", "other"), ports):
                client.connect("c", "127.0.0.1", port)
                server.tell("accept", name, "s")
                client.tell("close", "c")
                server.tell("close", "s")
    [record] = providers.records(ports[0])
    assert (record["process.pid"], record["tcplife.role"]) == (client.pid, "client")
    assert not providers.records(ports[1])


def test_an_option_that_cannot_be_is_an_error_here() -> None:
    with pytest.raises(BadUsage, match=r"^scope: unknown scope 'all'; use process or host$"):
        start_tracing(scope="all")


def test_it_can_begin_and_end_again_and_again(traffic: Traffic) -> None:
    """The counters go on from where they were, and no session is counted twice."""
    providers = Providers()
    instrumentor = TcplifeInstrumentor()
    made = 0
    for _ in range(3):
        TcplifeInstrumentor().uninstrument()
        instrumentor.instrument(logger_provider=providers.logs, meter_provider=providers.metrics, tracer_provider=None)
        TcplifeInstrumentor().instrument()
        made += traffic.sessions(2)
        instrumentor.uninstrument()
        instrumentor.uninstrument()
        traffic.sessions(1)
        assert len(providers.records(traffic.port)) == made
        assert providers.outcomes("tcplife.probe.sessions") == {"submitted": made}
        assert providers.outcomes("tcplife.export.records") == {"exported": made}
        assert sum(point.count for point in providers.points("tcplife.session.io")) == 2 * made
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tcplife")]


def test_the_sessions_that_are_open_now_are_observed(traffic: Traffic) -> None:
    providers = Providers()
    with start_tracing(logger_provider=providers.logs, meter_provider=providers.metrics):
        ends = [end for _ in range(3) for end in traffic.open()]
        assert _active(providers) == {"client": 3, "server": 3, "": 0}
        ends[0].sendall(bytes(42))
        ends[1].recv(42, socket.MSG_WAITALL)
        # Scans take a fiftieth of the time at most: one that took long has the next one wait
        eventually(lambda: sum(point.value for point in providers.points("tcplife.io")) == 2 * 42)
        for end in ends:
            end.close()
        eventually(lambda: _active(providers) == {"client": 0, "server": 0, "": 0})
    assert sum(point.value for point in providers.points("tcplife.io")) == 2 * 42


def _active(providers: Providers) -> dict[str, int]:
    """By role; those that no process has open have none."""
    points = providers.points("tcplife.session.active")
    return {str(point.attributes.get("tcplife.role", "")): point.value for point in points}


def test_the_views_and_the_temporality_of_the_application_apply(traffic: Traffic) -> None:
    views = (
        View(instrument_name="tcplife.session.duration", aggregation=ExplicitBucketHistogramAggregation([1.0])),
        View(instrument_name="tcplife.session.rtt", name="rtt", attribute_keys=set[str]()),
    )
    delta = InMemoryMetricReader(preferred_temporality={Histogram: AggregationTemporality.DELTA})
    providers = Providers(delta, views)
    with start_tracing(logger_provider=providers.logs, meter_provider=providers.metrics):
        made = traffic.sessions(4)
    points = providers.collect()
    assert {tuple(point.explicit_bounds) for point in points["tcplife.session.duration"]} == {(1.0,)}
    assert sum(point.count for point in points["tcplife.session.duration"]) == made
    [rtt] = points["rtt"]
    assert (rtt.count, dict(rtt.attributes)) == (made, {})
    assert {*providers.collect()} == {"tcplife.io", "tcplife.probe.sessions", "tcplife.export.records"}  # cumulative


def test_what_an_application_without_logs_is_not_given_is_counted_as_that(traffic: Traffic) -> None:
    providers = Providers()
    for logs in (LoggerProvider(shutdown_on_exit=False), NoOpLoggerProvider()):
        with start_tracing(logger_provider=logs, meter_provider=providers.metrics):
            traffic.sessions(1)
    assert providers.outcomes("tcplife.export.records") == {"disabled": 4}
    assert sum(point.count for point in providers.points("tcplife.session.duration")) == 4


class _Fails(LogRecordProcessor):
    """Fails on every third record."""

    def __init__(self) -> None:
        self._count = 0

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self._count += 1
        if not self._count % 3:
            raise RuntimeError("every third")

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def test_a_processor_that_fails_is_told_once_and_counted(traffic: Traffic, caplog: pytest.LogCaptureFixture) -> None:
    providers = Providers()
    providers.logs.add_log_record_processor(_Fails())
    with start_tracing(logger_provider=providers.logs, meter_provider=providers.metrics):
        made = traffic.sessions(6)
    assert providers.outcomes("tcplife.export.records") == {"exported": made - made // 3, "rejected": made // 3}
    assert [record.message for record in caplog.records] == [
        "otel-tcplife: cannot emit log records to providers: RuntimeError: every third; "
        "each that fails is counted as rejected"
    ]


class _Waits(_Fails):
    """Holds the first record until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self.go_on.wait()


def test_what_there_is_no_room_for_is_counted(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "APPLICATION", replace(APPLICATION, max_queue_size=10))
    providers, waits = Providers(), _Waits()
    providers.logs.add_log_record_processor(waits)
    with start_tracing(logger_provider=providers.logs, meter_provider=providers.metrics):
        made = 0
        while not (dropped := providers.outcomes("tcplife.export.records")):
            made += traffic.sessions(10)
        assert {*dropped} == {"dropped"}
        waits.go_on.set()
    outcomes = Counter(providers.outcomes("tcplife.export.records"))
    assert outcomes["dropped"] >= dropped["dropped"]
    assert outcomes["exported"] == len(providers.records(traffic.port))
    assert outcomes["exported"] + outcomes["dropped"] == made
    assert providers.outcomes("tcplife.probe.sessions") == {"submitted": made}
