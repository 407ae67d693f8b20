"""Faults while real sessions are traced: each of them is exported, or counted as lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.balance import read_balance
from tests.faults.live import OwnTraffic, own_traffic
from tests.faults.metrics import booked, probed, waiting
from tests.support.host_agent import COMMAND, HostAgent
from tests.support.otlp_receiver import Answer, HttpReceiver, Request
from tests.support.received import ReceivedLog

_SESSIONS = 400


class _Receiver(HttpReceiver):
    """Takes all metrics, and the logs unless it is away."""

    is_away = False

    def take(self, request: Request) -> None:
        """Keep what is not refused."""
        if request.signal != "logs" or not self.is_away:
            super().take(request)

    def answer_to(self, request: Request) -> Answer:
        return Answer(503) if request.signal == "logs" and self.is_away else self.answer


@pytest.fixture
def traffic() -> Iterator[OwnTraffic]:
    with own_traffic() as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    with _Receiver() as receiving:
        yield receiving


def _agent(receiver: HttpReceiver, traffic: OwnTraffic, **variables: str) -> HostAgent:
    """One that traces the server's ends of the traffic."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "20",
        **{f"OTEL_PYTHON_TCPLIFE_{name}": value for name, value in variables.items()},
    }
    return HostAgent(["--no-table", "-L", str(traffic.port)], env)


def _wait_for(agent: HostAgent, made: int, receiver: HttpReceiver) -> None:
    """Wait until so many sessions have been seen to end, and those that were submitted are exported, or spooled."""
    while True:
        probe, records = probed([*receiver.requests]), booked([*receiver.requests])
        seen = sum(probe.values()) - probe["filtered"]
        if seen >= made and records["exported"] + records["spooled"] == probe["submitted"]:
            return
        assert Path(f"/proc/{agent.pid}").exists(), agent.said
        time.sleep(0.01)


def _check(received: list[ReceivedLog], attribute: str, made: list[int], lost: Counter[str]) -> None:
    """Raise AssertionError where sessions are there twice, or are not there and were not counted as lost.

    The whole end of a session can be missed, which is counted as not_followed, as are sessions of others.
    """
    found = Counter(int(log.attributes[attribute]) for log in received)
    assert not found - Counter(made)
    missing = len(made) - len(received) - lost["ring_full"] - lost["map_full"]
    assert 0 <= missing <= lost["not_followed"]


def test_what_is_spooled_survives_kill_9(traffic: OwnTraffic, receiver: _Receiver, tmp_path: Path) -> None:
    receiver.is_away = True
    with _agent(receiver, traffic, SPOOL=str(tmp_path)) as killed:
        made = traffic.make("sessions", _SESSIONS)
        _wait_for(killed, len(made), receiver)
        lost, kept = probed([*receiver.requests]), booked([*receiver.requests])
        killed.stop(signal.SIGKILL)
    receiver.is_away = False
    receiver.requests.clear()
    with _agent(receiver, traffic, SPOOL=str(tmp_path)) as second:
        made += traffic.make("sessions", 10)
        while waiting([*receiver.requests]) + kept["spooled"] or not booked([*receiver.requests]):
            time.sleep(0.01)
        assert second.stop() == 0
    balance = read_balance(second.said)
    balance.check()
    assert balance.found == kept["spooled"] > _SESSIONS // 2
    assert not balance.waiting
    _check(traffic.of(receiver.requests), "network.peer.port", made, lost + balance.source)


def test_what_comes_while_it_is_stopped_is_exported_or_counted(traffic: OwnTraffic, receiver: _Receiver) -> None:
    with _agent(receiver, traffic, RING_BYTES="4096") as agent:
        before = traffic.make("sessions", 5)
        _wait_for(agent, len(before), receiver)
        os.kill(agent.pid, signal.SIGSTOP)
        made = before + traffic.make("sessions", _SESSIONS)
        os.kill(agent.pid, signal.SIGCONT)
        _wait_for(agent, len(made), receiver)
        made += traffic.make("sessions", 5)
        assert agent.stop() == 0
    balance = read_balance(agent.said)
    balance.check()
    received = traffic.of(receiver.requests)
    assert balance.source["ring_full"] > 0
    assert len(received) == balance.exported
    _check(received, "network.peer.port", made, balance.source)


def test_a_storm_of_forks(traffic: OwnTraffic, receiver: _Receiver) -> None:
    """Each process has one session, and has gone when that is exported."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    with HostAgent(["--no-table", "-D", str(traffic.port)], env) as agent:
        pids = traffic.make("forks", _SESSIONS)
        assert agent.stop() == 0
    balance = read_balance(agent.said)
    balance.check()
    received = traffic.of(receiver.requests)
    _check(received, "process.pid", pids, balance.source)
    assert {log.attributes["tcplife.owner.source"] for log in received} == {"connect"}


def _loaders(pid: int) -> list[int]:
    """The processes that load the program for this one."""
    with suppress(OSError):  # one has ended
        tasks = Path(f"/proc/{pid}/task").iterdir()  # a thread starts it
        children = [child for task in tasks for child in (task / "children").read_text().split()]
        return [int(child) for child in children if b"bcc_helper" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return []


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2])
def test_a_loader_that_is_killed_is_told_in_one_line(delay: float, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    env["OTEL_PYTHON_TCPLIFE_CACHE"] = "none"  # or else there may be no loader
    with subprocess.Popen([COMMAND, "--no-table"], stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path) as process:
        assert process.stderr
        loaders: list[int] = []
        while process.poll() is None and not loaders:
            loaders = _loaders(process.pid)
        time.sleep(delay)
        for loader in loaders:
            with suppress(ProcessLookupError):
                os.kill(loader, signal.SIGKILL)
        first = process.stderr.readline()
        is_tracing = "tracing;" in first  # as it had loaded it already
        if is_tracing:
            process.terminate()
        others = process.stderr.read().splitlines()
    if is_tracing:
        assert process.returncode == 0
    else:
        assert process.returncode == 1
        assert first.startswith("otel-tcplife: cannot trace: ")
        assert others == []
