"""A program that stays in the kernel: what ends while no agent runs is exported by the next one."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typing_extensions import Self

from tests.support.actor import run_actor
from tests.support.host_agent import HostAgent
from tests.support.pins import Pinned, balance_of
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import ReceivedLog
from tests.support.stopwatch import Stopwatch
from tests.support.traffic import Traffic

_WITHOUT_COMPILER = {"OTEL_TCPLIFE_BCC_HELPER": "1"}
"""With this, an agent starts no helper, and so cannot load a program."""


def _end(pinned: Pinned, local: int, peer: int) -> ReceivedLog:
    """The one record of the end with these ports."""
    [log] = [log for log in pinned.logs() if log.ports == (local, peer) and not log.is_elsewhere]
    return log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_session_that_goes_on_across_a_restart_keeps_all_that_is_known_of_it(
    number: signal.Signals, pinned: Pinned
) -> None:
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        session = Session(FAMILIES[0], client, server)
        with pinned.agent() as agent:
            session.open()
            session.exchange(100_000, 1)
            agent.stop(number)
        session.exchange(23, 70_000)
        with Stopwatch() as closing:
            client.tell("close", "c")
            assert server.tell("receive", "s", 1) == 0
        if number == signal.SIGTERM:  # the server's end goes on until the next agent runs
            with pinned.agent():
                server.tell("close", "s")
        else:
            server.tell("close", "s")
            with pinned.agent(_WITHOUT_COMPILER):
                pass
    ports = session.client_port, session.server_port
    sent = session.sent_by_client, session.sent_by_server
    for role, actor in (("client", client), ("server", server)):
        log = _end(pinned, *(ports if role == "client" else ports[::-1]))
        wanted = {
            "tcplife.start_observed": None,
            "tcplife.owner.source": "connect" if role == "client" else "close",
            "process.pid": actor.pid,
            "tcplife.comm": actor.comm,
            "process.executable.name": actor.executable,
            "tcplife.role": role,
            "tcplife.bytes.sent": sent[role == "server"],
            "tcplife.bytes.received": sent[role == "client"],
            "tcplife.close.reason": "local_close" if role == "client" else "peer_close",
        }
        assert {key: log.attributes.get(key) for key in wanted} == wanted
        assert float(log.attributes["tcplife.session.duration"]) * 1e9 > closing.began - session.connecting.ended
        if role == "client":
            assert closing.began_unix - 10**7 <= log.time_unix_nano <= time.time_ns()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_each_session_is_of_one_run_whose_balance_adds_up(
    number: signal.Signals, pinned: Pinned, traffic: Traffic
) -> None:
    with pinned.agent() as first:
        traffic.sessions(20)
        if number == signal.SIGKILL:  # what it has read and not exported goes with it
            pinned.wait_for(traffic, 40)
        first.stop(number)
    assert len(traffic.of(pinned.logs())) == 40
    traffic.sessions(30)
    with pinned.agent(_WITHOUT_COMPILER) as second:
        traffic.sessions(10)
        second.stop()
    assert len(traffic.of(pinned.logs())) == 40 + 80
    for agent in [second] if number == signal.SIGKILL else [first, second]:
        seen, kernel, file = balance_of(agent)
        assert seen == sum(kernel.values())
        assert kernel["submitted"] == file["exported"]
    if number == signal.SIGTERM:
        pinned.wait_until_counted(sum(balance_of(agent)[0] for agent in (first, second)))
        assert sum(balance_of(agent)[2]["exported"] for agent in (first, second)) == len(pinned.logs())
    assert "otel-tcplife: going on with the BPF program that stayed in " + str(pinned.pins) in second.said


def test_what_does_not_fit_into_the_ring_meanwhile_is_counted_by_the_next_run(pinned: Pinned, traffic: Traffic) -> None:
    small = {"OTEL_PYTHON_TCPLIFE_RING_BYTES": "65536"}
    with pinned.agent(small):
        pass
    made = traffic.sessions(400)
    with pinned.agent(small) as second:
        second.stop()
    seen, kernel, file = balance_of(second)
    assert kernel["ring_full"] > 0
    assert sum(kernel.values()) == seen >= made
    assert kernel["submitted"] == file["exported"]


def test_a_second_agent_is_refused(pinned: Pinned) -> None:
    with pinned.agent(), pytest.raises(RuntimeError) as refused, pinned.agent():
        pass
    assert str(refused.value) == (
        f"otel-tcplife: cannot trace: OTEL_PYTHON_TCPLIFE_PIN: another otel-tcplife runs with {pinned.pins}; "
        "stop it, or give another directory"
    )


class _Load:
    """Sessions of this process, one after the other at a steady pace, until the end of its `with` block."""

    def __init__(self, traffic: Traffic) -> None:
        self.made = 0
        self._traffic = traffic
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._make)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def go_on(self, sessions: int = 100) -> None:
        """Wait until so many more were made."""
        until = self.made + 2 * sessions
        while self.made < until:
            time.sleep(0.001)

    def _make(self) -> None:
        while not self._stopped.is_set():
            self.made += self._traffic.sessions(1)
            time.sleep(0.005)


_FEWER_FLOWS = {"OTEL_PYTHON_TCPLIFE_MAX_SESSIONS": "5000"}
_SMALLER_RING = {"OTEL_PYTHON_TCPLIFE_RING_BYTES": str(32 << 20)}


@pytest.mark.parametrize(
    "changed",
    [{"OTEL_PYTHON_TCPLIFE_INTERIM": "3600"}, _SMALLER_RING, _FEWER_FLOWS, {**_FEWER_FLOWS, **_SMALLER_RING}],
    ids=["text", "ring", "flows", "ring and flows"],
)
def test_a_changed_program_replaces_the_one_before_and_each_session_is_reported_once(
    changed: dict[str, str], pinned: Pinned, traffic: Traffic
) -> None:
    """Sessions come all the time, and one is open all the time."""
    with pinned.agent() as first:
        client, server = traffic.open()
        first.stop()
    with _Load(traffic) as load:
        load.go_on()
        with pinned.agent(changed) as second:
            load.go_on()
            second.stop()
        load.go_on()
    client.close()
    server.close()
    with pinned.agent({**changed, **_WITHOUT_COMPILER}) as third:
        logs = pinned.wait_for(traffic, load.made + 2)
        third.stop()
    _assert_all_are_reported(logs, load.made + 2, pinned)
    assert not [log for log in logs if "tcplife.start_observed" in log.attributes]
    for agent in (first, second, third):
        _assert_nothing_is_lost(agent)
    assert len(list(pinned.pins.iterdir())) == 1


def test_sessions_keep_their_flows_however_often_the_map_of_them_is_replaced(pinned: Pinned, traffic: Traffic) -> None:
    pairs: list[tuple[socket.socket, socket.socket]] = []
    for most in (5000, 5100, 5200, 5300):
        with pinned.agent({"OTEL_PYTHON_TCPLIFE_MAX_SESSIONS": str(most)}) as agent:
            pairs += [traffic.open() for _ in range(5)]
            agent.stop()
    for end in (end for pair in pairs for end in pair):
        end.close()
    with pinned.agent({"OTEL_PYTHON_TCPLIFE_MAX_SESSIONS": "5300", **_WITHOUT_COMPILER}) as last:
        last.stop()
    logs = traffic.of(pinned.logs())
    assert len(logs) == 2 * len(pairs)
    assert not [log for log in logs if "tcplife.start_observed" in log.attributes]
    _assert_nothing_is_lost(last)


def test_a_start_that_is_killed_anywhere_loses_nothing(pinned: Pinned, traffic: Traffic) -> None:
    """Each replaces the program of the one before; what it has made of that is finished or removed by the next."""
    with pinned.agent() as first:
        first.stop()
    client, server = traffic.open()
    with _Load(traffic) as load:
        point = 1
        while _start_that_is_killed(pinned.pins, point) == -signal.SIGKILL:
            assert _start_that_is_killed(pinned.pins, 10**6 + point) == 0
            point += 12
        load.go_on()
    assert point > 100
    client.close()
    server.close()
    with pinned.agent() as last:
        logs = pinned.wait_for(traffic, load.made + 2)
        last.stop()
    _assert_all_are_reported(logs, load.made + 2, pinned)
    assert not [log for log in logs if "tcplife.start_observed" in log.attributes]
    _assert_nothing_is_lost(last)
    assert len(list(pinned.pins.iterdir())) == 1


def _start_that_is_killed(pins: Path, point: int) -> int:
    """Its exit code."""
    command = [sys.executable, "-m", "tests.live.killed_start_main", str(pins), str(point)]
    return subprocess.run(command, check=False).returncode


def _assert_all_are_reported(logs: list[ReceivedLog], ends: int, pinned: Pinned) -> None:
    """Each once; but for ends that were missed, which the kernel has counted, see Pinned.wait_for()."""
    missing = ends - len(logs)
    assert 0 <= missing <= min(pinned.not_followed, 3)
    assert len({(*log.ports, log.time_unix_nano) for log in logs}) == len(logs)


def _assert_nothing_is_lost(agent: HostAgent) -> None:
    """And its balance adds up."""
    seen, kernel, file = balance_of(agent)
    assert seen == sum(kernel.values())
    assert kernel.get("submitted", 0) == file.get("exported", 0)
    assert not {"map_full", "ring_full"} & kernel.keys()
