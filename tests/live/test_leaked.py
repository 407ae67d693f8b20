"""Success sockets that the peer has reset while their process never closes them: nobody is seen to own them."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from otel_tcplife.export.sdk.emit import log_records
from otel_tcplife.options import Filters, Options
from otel_tcplife.probe import live
from otel_tcplife.probe.live import open_live_source
from otel_tcplife.session import SessionBatch, concatenated
from tests.support.actor import run_actor
from tests.support.host_agent import HostAgent
from tests.support.played_session import CLIENT, SERVER
from tests.support.received import read_otlp_json_lines
from tests.support.session_pairs import Pairs, of_namespace

_OWNER = {
    "process.pid", "tcplife.comm", "process.executable.name", "tcplife.owner.source", "process.user.id",
    "process.real_user.id", "process.parent_pid", "process.creation.time", "process.vpid",
}  # fmt: skip


@pytest.fixture(autouse=True)
def each_read_looks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_SWEEP_INTERVAL", 0.0)
    monkeypatch.setattr(live, "UNCLAIMED_PATIENCE", 1e6)  # until a test says that it ends, however slow the machine


@contextmanager
def _pairs() -> Generator[Pairs]:
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        yield Pairs(client, server)


class _Trace:
    """A source, and all that was read from it."""

    def __init__(self, filters: Filters) -> None:
        self.source = open_live_source(Options(filters=filters))
        self._batches: list[SessionBatch] = []

    def read(self, pairs: Pairs) -> SessionBatch:
        """What has come since the last time, of the servers' ends."""
        self._batches.append(self.source.read())
        return _of_server(self._batches[-1], pairs)

    def drain(self, pairs: Pairs) -> SessionBatch:
        """The rest, of the servers' ends; the balance must then add up."""
        self._batches.append(self.source.drain())
        outcomes = self.source.stats().outcomes
        assert outcomes["submitted"] == len(self.all)
        assert sum(outcomes.values()) == self.source.stats().seen
        return _of_server(self._batches[-1], pairs)

    @property
    def all(self) -> SessionBatch:
        """All sessions so far, whosever they are."""
        return concatenated(self._batches)

    def close(self) -> None:
        """End it."""
        self.source.close()


def _of_server(batch: SessionBatch, pairs: Pairs) -> SessionBatch:
    mine = of_namespace(batch, os.stat("/proc/self/ns/net").st_ino)
    return mine[(mine["local_port"] == pairs.port) & np.isin(mine["peer_port"], pairs.client_ports)]


def test_it_is_reported_once_without_an_owner_when_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(_Trace(Filters())) as trace, _pairs() as pairs:
        [leaked] = pairs.open(1)
        pairs.server.tell("send", f"s{leaked}", 30)
        pairs.client.tell("receive", f"c{leaked}", 30)
        pairs.leak(leaked)
        assert not len(trace.read(pairs)), "its process may still close it"
        monkeypatch.setattr(live, "UNCLAIMED_PATIENCE", 0.0)
        [record] = log_records(trace.read(pairs))
        assert record.attributes
        wanted = {
            "network.local.port": pairs.port,
            "network.peer.port": pairs.client_ports[leaked],
            "tcplife.role": "server",
            "tcplife.bytes.sent": 30,
            "tcplife.bytes.received": 0,
            "tcplife.close.reason": "peer_reset",
            "error.type": "ECONNRESET",
            "tcplife.socket.user.id": 0,
        }
        assert {key: record.attributes.get(key) for key in wanted} == wanted
        assert float(str(record.attributes["tcplife.session.duration"])) > 0
        assert not _OWNER & record.attributes.keys()
        assert str(record.body).startswith(f"127.0.0.1:{pairs.port} <- 127.0.0.1:")
        pairs.server.tell("close", f"s{leaked}")
        assert not len(trace.read(pairs))
        assert not len(trace.drain(pairs))


def test_one_that_its_process_closes_in_time_has_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(_Trace(Filters())) as trace, _pairs() as pairs:
        [late] = pairs.open(1)
        pairs.leak(late)
        assert not len(trace.read(pairs))
        pairs.server.tell("close", f"s{late}")
        monkeypatch.setattr(live, "UNCLAIMED_PATIENCE", 0.0)
        assert trace.read(pairs)["pid"].tolist() == [pairs.server.pid]
        assert not len(trace.drain(pairs))


@pytest.mark.parametrize("ends", ["patience", "tracing"])
def test_a_filter_of_processes_does_not_select_it(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its process is the one that was asked for cannot be known."""
    with _pairs() as pairs, closing(_Trace(Filters(pid=pairs.server.pid))) as trace:
        leaked, closed = pairs.open(2)
        pairs.leak(leaked)
        pairs.leak(closed)
        pairs.server.tell("close", f"s{closed}")
        if ends == "patience":
            assert trace.read(pairs)["peer_port"].tolist() == [pairs.client_ports[closed]]
            monkeypatch.setattr(live, "UNCLAIMED_PATIENCE", 0.0)
            assert not len(trace.read(pairs))
            pairs.server.tell("close", f"s{leaked}")
        trace.drain(pairs)
        assert _of_server(trace.all, pairs)["peer_port"].tolist() == [pairs.client_ports[closed]]
        assert set(trace.all["pid"].tolist()) == {pairs.server.pid}
        assert trace.source.stats().outcomes["filtered"] >= 3, "it, and the clients' ends"


def test_one_whose_process_and_the_trace_take_it_at_once_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "UNCLAIMED_PATIENCE", 0.0)
    with closing(_Trace(Filters())) as trace, _pairs() as pairs:
        numbers = pairs.open(400)

        def end_all() -> None:
            for number in numbers:
                pairs.leak(number)
                pairs.server.tell("close", f"s{number}")

        ending = threading.Thread(target=end_all)
        ending.start()
        while ending.is_alive():
            trace.read(pairs)
        ending.join()
        trace.drain(pairs)
        reported = _of_server(trace.all, pairs)
        assert Counter(reported["peer_port"].tolist()) == Counter(pairs.client_ports)
        assert set(reported["pid"].tolist()) <= {0, pairs.server.pid}


def test_those_that_still_wait_are_reported_when_tracing_ends(tmp_path: Path) -> None:
    with _pairs() as pairs:
        with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]) as agent:
            for number in pairs.open(3):
                pairs.leak(number)
            agent.stop()
        logs = read_otlp_json_lines(tmp_path / "logs.jsonl").logs
        mine = [log for log in logs if log.ports[0] == pairs.port and not log.is_elsewhere]
    assert sorted(int(log.attributes["network.peer.port"]) for log in mine) == sorted(pairs.client_ports)
    for log in mine:
        assert log.event_name == "tcplife.session.closed"
        assert log.attributes["tcplife.close.reason"] == "peer_reset"
        assert not _OWNER & log.attributes.keys()
    assert f"otel-tcplife: file: {len(logs)} exported" in agent.said
