"""Of scope host, one process of a host collects, and each session is reported once.

Another collector may be running here, of another test run: a test waits for its turn then, as the processes do. Where
one is there all the time, no other may collect, and the tests that need to are skipped, which says why.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from otel_tcplife.probe import bpf
from otel_tcplife.probe.host_tracer import HOST_MAP
from tests.plugin.traced import Receiver, SessionEnd, Traced, differences, wait_until
from tests.support.bpf_objects import held_by, traces, wait_until_gone
from tests.support.host_agent import HostAgent
from tests.support.host_scope import UNABLE_TO_SEE_OTHERS
from tests.support.traffic import Traffic

_QUIET = "otel-tcplife: another process already traces this host; standing by until it exits"


def _said(app: Traced) -> list[str]:
    """What it said, without the number of the process that traces, which may be another one by now."""
    return [re.sub(r"another process \(\d+\) already", "another process already", line) for line in app.said]


class Sessions:
    """Sessions of this process, of which the server's ends are selected, so that other sessions are no burden."""

    def __init__(self) -> None:
        self._traffic = Traffic()
        self._count = 0
        self._before: list[SessionEnd] = []
        self._made: list[SessionEnd] = []

    def make(self, count: int = 3) -> None:
        """Make so many, one after the other, no two of one size, as their ports may come again."""
        for size in range(self._count + 1, self._count + 1 + count):
            client, server = self._traffic.open()
            self._made.append(SessionEnd(os.getpid(), "server", self._traffic.port, client.getsockname()[1], 0, size))
            client.sendall(bytes(size))
            client.close()
            server.recv(size, socket.MSG_WAITALL)
            server.close()
        self._count += count

    def make_until_reported(self, receiver: Receiver, *apps: Traced) -> None:
        """Make sessions until one is, so that those from now on have to be."""

        def is_reported() -> bool:
            self.make(10)
            return bool(set(self._made) & set(receiver.ends()))

        wait_until(is_reported, lambda: f"none collects: {[app.said for app in apps]}")
        self._before, self._made = [*self._before, *self._made], []

    def assert_each_was_reported_once(self, receiver: Receiver) -> None:
        """Of those before they had to be: not twice."""
        not_reported, too_often = differences([*self._before, *self._made], receiver.ends())
        assert not too_often
        assert not set(not_reported) & set(self._made)

    def traced(self, receiver: Receiver, name: str = "idle", within: Sequence[str] = ()) -> Traced:
        """An application that collects these sessions, or waits until it may."""
        environ = {"OTEL_PYTHON_TCPLIFE_SCOPE": "host", "OTEL_PYTHON_TCPLIFE_LOCAL_PORTS": str(self._traffic.port)}
        return Traced("-m", "tests.plugin.forking_main", name, receiver=receiver, environ=environ, within=within)

    def close(self) -> None:
        """Listen no more."""
        self._traffic.close()


_OTHER_TESTS_TAKE = 60.0
"""Seconds after which a collector is none of another test run."""


@pytest.fixture(scope="module")
def host_is_free() -> None:
    """No collector is there all the time."""
    first, since = _collector(), time.monotonic()
    while first and _collector() == first:
        if time.monotonic() - since > _OTHER_TESTS_TAKE:
            pytest.skip("another process collects the sessions of this host all the time, so that no other may")
        time.sleep(0.1)


def _collector() -> int:
    """The map of the process that collects; 0 if there is none."""
    return next((map_id for map_id in bpf.map_ids() if bpf.map_name(map_id) == HOST_MAP), 0)


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    sessions = Sessions()
    yield sessions
    sessions.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(_directory(tmp_path, "first")) as receiver:
        yield receiver


@pytest.fixture
def other_receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(_directory(tmp_path, "second")) as receiver:
        yield receiver


def _directory(parent: Path, name: str) -> Path:
    directory = parent / name
    directory.mkdir()
    return directory


def _one_that_collects(app: Traced) -> int:
    """Which process of an application and its child it is; the child if there was another collector at first."""
    [collector] = filter(traces, [*app.wait_for("parent"), *app.wait_for("child")])
    return collector


@pytest.mark.usefixtures("host_is_free")
def test_sessions_of_other_processes_are_reported(sessions: Sessions, receiver: Receiver) -> None:
    with sessions.traced(receiver) as app:
        sessions.make_until_reported(receiver, app)
        bpf = held_by(app.pid)
        sessions.make()
        assert app.end() == 0
    wait_until_gone(bpf)
    sessions.assert_each_was_reported_once(receiver)
    assert _said(app) in ([], [_QUIET])


@pytest.mark.usefixtures("host_is_free")
def test_a_second_one_and_a_child_of_the_first_stay_quiet(
    sessions: Sessions, receiver: Receiver, other_receiver: Receiver
) -> None:
    with sessions.traced(receiver, "idle_with_child") as first:
        sessions.make_until_reported(receiver, first)
        collector = _one_that_collects(first)
        with sessions.traced(other_receiver) as second:
            second.wait_for("ready")
            sessions.make()
            assert not traces(second.pid)
            assert second.end() == 0
        sessions.make()
        assert first.end() == 0
    sessions.assert_each_was_reported_once(receiver)
    assert not other_receiver.logs()
    assert _said(second) == [_QUIET]
    assert f"another process ({collector}) already" in second.said[0]
    assert _said(first) in ([], [_QUIET])


@pytest.mark.usefixtures("host_is_free")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_second_collects_when_the_first_has_ended(
    number: signal.Signals, sessions: Sessions, receiver: Receiver, other_receiver: Receiver
) -> None:
    with sessions.traced(receiver) as first:
        sessions.make_until_reported(receiver, first)
        with sessions.traced(other_receiver) as second:
            second.wait_for("ready")
            first.end(number)
            sessions.make_until_reported(other_receiver, second)
            bpf = held_by(second.pid)
            sessions.make()
            assert second.end() == 0
    wait_until_gone(bpf)
    sessions.assert_each_was_reported_once(other_receiver)
    assert _said(second) == [_QUIET]


@pytest.mark.usefixtures("host_is_free")
def test_of_a_process_and_its_child_the_other_collects_when_one_was_killed(
    sessions: Sessions, receiver: Receiver
) -> None:
    with sessions.traced(receiver, "idle_with_child") as app:
        sessions.make_until_reported(receiver, app)
        first = _one_that_collects(app)
        bpf = held_by(first)
        os.kill(first, signal.SIGKILL)
        wait_until_gone(bpf)
        sessions.make_until_reported(receiver, app)
        second = _one_that_collects(app)
        assert second != first
        bpf = held_by(second)
    wait_until_gone(bpf)
    sessions.assert_each_was_reported_once(receiver)
    assert _said(app) in ([], [_QUIET])


@pytest.mark.usefixtures("host_is_free")
def test_of_several_that_begin_at_once_one_collects(sessions: Sessions, receiver: Receiver) -> None:
    with sessions.traced(receiver) as first, sessions.traced(receiver) as second, sessions.traced(receiver) as third:
        apps = [first, second, third]
        sessions.make_until_reported(receiver, *apps)
        for app in apps:
            app.wait_for("ready")
        sessions.make()
        assert sum(traces(app.pid) for app in apps) == 1
        for app in sorted(apps, key=lambda app: traces(app.pid)):  # so that none takes over
            assert app.end() == 0
    sessions.assert_each_was_reported_once(receiver)
    assert sorted(map(_said, apps)) in ([[], [_QUIET], [_QUIET]], [[_QUIET]] * 3)


def test_while_the_command_runs_it_stays_quiet(sessions: Sessions, receiver: Receiver, tmp_path: Path) -> None:
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]), sessions.traced(receiver) as app:
        app.wait_for("ready")
        sessions.make()
        assert not traces(app.pid)
        assert app.end() == 0
    assert not receiver.logs()
    assert _said(app) == [_QUIET]


@pytest.mark.usefixtures("host_is_free")
def test_it_collects_when_the_command_has_ended(sessions: Sessions, receiver: Receiver, tmp_path: Path) -> None:
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]) as agent, sessions.traced(receiver) as app:
        app.wait_for("ready")
        agent.stop()
        sessions.make_until_reported(receiver, app)
        sessions.make()
        assert app.end() == 0
    sessions.assert_each_was_reported_once(receiver)
    assert _said(app) == [_QUIET]


def test_without_the_privilege_to_ask_it_collects(sessions: Sessions, receiver: Receiver) -> None:
    """CAP_BPF and CAP_PERFMON are enough to trace, but not to see who else does."""
    with sessions.traced(receiver, within=UNABLE_TO_SEE_OTHERS) as app:
        app.wait_for("ready")
        sessions.make()
        assert app.end() == 0
    sessions.assert_each_was_reported_once(receiver)
    assert not app.said
