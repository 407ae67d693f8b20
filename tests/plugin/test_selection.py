"""Which sessions become log records of the application's logger provider; its meter provider has all."""

from __future__ import annotations

import socket
from collections import Counter

import pytest

from otel_tcplife import tracing as tracing_module
from otel_tcplife.probe import loader
from otel_tcplife.tracing import start_tracing
from tests.plugin.providers import Providers
from tests.support.background_process import refusing_port
from tests.support.traffic import Traffic


@pytest.fixture(params=["process", "host"])
def scope(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether or not another process collects the sessions of this host now."""

    def none_does(before: int | None = None) -> bool:
        return False

    for module in (tracing_module, loader):
        monkeypatch.setattr(module, "is_host_traced", none_does)
    return str(request.param)


def test_a_sample_has_whole_connections_and_all_errors(scope: str) -> None:
    """The chance that it has none of them or all, and this fails, is 1 in 2 ** 59."""
    providers, traffic = Providers(), Traffic()
    with (
        refusing_port() as refusing,
        start_tracing(
            logger_provider=providers.logs,
            meter_provider=providers.metrics,
            scope=scope,
            log_sample=0.5,
            community_id=True,
            event_name_attribute=True,
        ),
    ):
        made = traffic.sessions(60)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", refusing))
    traffic.close()
    kept = providers.records(traffic.port)
    assert {record["tcplife.sampling.ratio"] for record in kept} == {0.5}
    assert {record["otel.event.name"] for record in kept} == {"tcplife.session.closed"}
    ends = Counter(record["network.community_id"] for record in kept)
    assert {*ends.values()} == {2}
    assert len(kept) < made
    [failed] = providers.records(refusing)
    assert "tcplife.sampling.ratio" not in failed
    outcomes = providers.outcomes("tcplife.export.records")
    assert {*outcomes} == {"exported", "unselected"}
    submitted = providers.outcomes("tcplife.probe.sessions")["submitted"]
    assert sum(outcomes.values()) == submitted
    counted = sum(point.count for point in providers.points("tcplife.session.duration"))
    if scope == "process":
        assert outcomes == {"exported": len(kept) + 1, "unselected": made - len(kept)}
        assert counted == made
    else:  # others have sessions, too
        assert outcomes["unselected"] >= made - len(kept)
        assert made <= counted < submitted


def test_a_variable_selects_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_TCPLIFE_LOG_ERRORS_ONLY", "true")
    providers, traffic = Providers(), Traffic()
    with start_tracing(logger_provider=providers.logs, meter_provider=providers.metrics):
        made = traffic.sessions(5)
    traffic.close()
    assert not providers.records(traffic.port)
    assert providers.outcomes("tcplife.export.records") == {"unselected": made}
    assert sum(point.count for point in providers.points("tcplife.session.duration")) == made


def test_sessions_with_a_loopback_peer_are_filtered_in_both_signals() -> None:
    providers, traffic = Providers(), Traffic()
    with start_tracing(logger_provider=providers.logs, meter_provider=providers.metrics, loopback=False):
        made = traffic.sessions(5)
    traffic.close()
    assert not providers.records(traffic.port)
    assert providers.outcomes("tcplife.probe.sessions") == {"filtered": made}
    assert not providers.points("tcplife.session.duration")
    assert not providers.outcomes("tcplife.export.records")
