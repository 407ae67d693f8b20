"""Of servers with several workers, each session is reported once, as that worker's, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugin.client import Client
from tests.plugin.traced import Receiver, Traced, differences
from tests.readme import python_example
from tests.support.background_process import free_ports
from tests.support.bpf_objects import BpfObject, held_by, wait_until_gone
from tests.support.helpers import the_helper_of, wait_until_ended


def _gunicorn(port: int, *options: str) -> list[str]:
    given = ["--workers=2", f"--bind=127.0.0.1:{port}", "--no-control-socket", *options]
    return ["-m", "gunicorn", *given, "tests.plugin.served:wsgi"]


def _gunicorn_with_threads(port: int) -> list[str]:
    return _gunicorn(port, "--worker-class=gthread", "--threads=2")


def _gunicorn_with_gevent(port: int) -> list[str]:
    return _gunicorn(port, "--worker-class=gevent")


def _uvicorn(port: int) -> list[str]:
    options = ["--workers=2", f"--port={port}", "--lifespan=off", "--no-access-log"]
    return ["-m", "uvicorn", *options, "tests.plugin.served:asgi"]


_SERVERS = {
    "gunicorn": _gunicorn,
    "gunicorn with threads": _gunicorn_with_threads,
    "gunicorn with gevent": _gunicorn_with_gevent,
    "uvicorn": _uvicorn,
}


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as receiver:
        yield receiver


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def _held_by_all(app: Traced, workers: set[int]) -> set[BpfObject]:
    return held_by(app.pid).union(*map(held_by, workers))


def _assert_each_is_reported_once(client: Client, receiver: Receiver, port: int) -> None:
    assert differences(client.made, [end for end in receiver.ends() if end.local_port == port]) == ([], [])
    logs = [log for log in receiver.logs() if log.attributes["network.local.port"] == port]
    assert not [log.body for log in logs if "tcplife.session.duration" not in log.attributes]  # seen from the beginning


def _assert_says_nothing(app: Traced) -> None:
    """Of us, and of OpenTelemetry; a line of others may have the path of where all of this is installed."""
    said = [line.replace(sys.prefix, "") for line in app.said]
    assert not [line for line in said if "tcplife" in line or "opentelemetry" in line]


@pytest.mark.parametrize("server", _SERVERS)
def test_each_session_is_reported_once_as_the_workers_that_answered(server: str, port: int, receiver: Receiver) -> None:
    client = Client(port)
    with Traced(*_SERVERS[server](port), receiver=receiver) as app:
        workers = client.request_until(lambda answered: len(answered) == 2)
        bpf = _held_by_all(app, workers)
        receiver.wait_for(client.made)
        assert app.end(signal.SIGTERM) == 0
    wait_until_gone(bpf)
    _assert_each_is_reported_once(client, receiver, port)
    _assert_says_nothing(app)


@pytest.mark.parametrize("server", _SERVERS)
def test_each_session_is_reported_once_by_a_helper(server: str, port: int, receiver: Receiver) -> None:
    client = Client(port)
    with Traced(*_SERVERS[server](port), receiver=receiver, export="auto") as app:
        workers = client.request_until(lambda answered: len(answered) == 2)
        helper = the_helper_of(app.pid)
        bpf = held_by(helper)
        os.kill(min(workers), signal.SIGKILL)
        client.request_until(lambda answered: bool(answered - workers))
        assert app.end(signal.SIGTERM) == 0
    wait_until_ended(helper)
    wait_until_gone(bpf)
    _assert_each_is_reported_once(client, receiver, port)
    _assert_says_nothing(app)


def test_of_workers_that_are_replaced_a_helper_counts_each_session_once(port: int, receiver: Receiver) -> None:
    client = Client(port)
    with Traced(*_gunicorn(port, "--workers=1", "--max-requests=5"), receiver=receiver, export="auto") as app:
        assert len({client.request() for _ in range(15)}) == 3
        helper = the_helper_of(app.pid)
        assert app.end(signal.SIGTERM) == 0
    wait_until_ended(helper)
    _assert_each_is_reported_once(client, receiver, port)
    points = [point for point in receiver.points() if point.name == "tcplife.session.io"]
    assert len({str(point.resource["service.instance.id"]) for point in points}) == 1
    last = {frozenset(point.attributes.items()): point for point in points}
    served = [point for point in last.values() if point.attributes.get("server.port") == port]
    assert {str(point.attributes["network.io.direction"]): point.count for point in served} == {
        "transmit": 15,
        "receive": 15,
    }
    _assert_says_nothing(app)


@pytest.mark.parametrize("server", _SERVERS)
def test_the_successor_of_a_worker_that_was_killed_is_traced(server: str, port: int, receiver: Receiver) -> None:
    client = Client(port)
    with Traced(*_SERVERS[server](port), receiver=receiver) as app:
        workers = client.request_until(lambda answered: len(answered) == 2)
        bpf = _held_by_all(app, workers)
        receiver.wait_for(client.made)  # nobody can tell what a process that traces itself knew when it was killed
        os.kill(min(workers), signal.SIGKILL)
        workers = client.request_until(lambda answered: bool(answered - workers))
        bpf |= _held_by_all(app, workers)
        receiver.wait_for(client.made)
        assert app.end(signal.SIGTERM) == 0
    wait_until_gone(bpf)
    _assert_each_is_reported_once(client, receiver, port)
    _assert_says_nothing(app)


def test_the_last_sessions_of_workers_that_are_forked_are_reported_at_the_end(port: int, receiver: Receiver) -> None:
    client = Client(port)
    with Traced(*_gunicorn(port), receiver=receiver) as app:
        client.request_until(lambda answered: len(answered) == 2)
        assert app.end(signal.SIGTERM) == 0
    _assert_each_is_reported_once(client, receiver, port)


def test_a_server_that_makes_itself_a_daemon_is_traced_once(port: int, receiver: Receiver, tmp_path: Path) -> None:
    """The process that began to trace ends at once; its grandchild and the workers may each have to begin anew."""
    client, pid_file = Client(port), tmp_path / "pid"
    with Traced(*_gunicorn(port, "--daemon", f"--pid={pid_file}"), receiver=receiver) as app:
        assert app.wait() == 0
        try:
            workers = client.request_until(lambda answered: len(answered) == 2)
            client.request_until(lambda _: workers <= {end.pid for end in receiver.ends()})
            before = len(client.made)
            client.request_until(lambda answered: answered == workers)
            receiver.wait_for(client.made[before:])
            bpf = held_by(int(pid_file.read_text())).union(*map(held_by, workers))
        finally:
            if pid_file.exists():
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
    wait_until_gone(bpf)
    reported = [end for end in receiver.ends() if end.local_port == port]
    # As many as there were, where the kernel has given out a port again: not from when none had to be reported yet
    assert not Counter(client.made[before:]) - Counter(reported)
    assert not differences(client.made, reported)[1]


def test_the_histograms_of_replaced_workers_that_trace_themselves_have_each_session_once(
    port: int, receiver: Receiver, tmp_path: Path
) -> None:
    client, configuration = Client(port), tmp_path / "gunicorn.conf.py"
    configuration.write_text(python_example("post_fork"))
    environ = {"GUNICORN_CMD_ARGS": f"--config={configuration}"}
    with Traced(*_gunicorn(port, "--workers=1", "--max-requests=5"), receiver=receiver, environ=environ) as app:
        assert len({client.request() for _ in range(15)}) == 3
        assert app.end(signal.SIGTERM) == 0
    assert differences(client.made, [end for end in receiver.ends() if end.local_port == port]) == ([], [])
    last = {
        (str(point.resource["service.instance.id"]), frozenset(point.attributes.items())): point
        for point in receiver.points()
        if point.name == "tcplife.session.io" and point.attributes["tcplife.role"] == "server"
    }
    assert len({process for process, _ in last}) == 3
    counts: Counter[object] = Counter()
    for point in last.values():
        counts[point.attributes["network.io.direction"]] += point.count or 0
    assert counts == {"transmit": 15, "receive": 15}
    _assert_says_nothing(app)
