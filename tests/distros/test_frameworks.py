"""Under frameworks that people use, each session is reported once, as the process's whose it is, by a helper."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.distros.environments import environment
from tests.plugin.client import Client
from tests.plugin.traced import Receiver, Traced, differences, wait_until
from tests.support.background_process import accepts, free_ports
from tests.support.bpf_objects import BpfObject, held_by, wait_until_gone
from tests.support.helpers import helpers_of, wait_until_ended
from tests.support.received import ReceivedLog

_REQUIREMENTS = (
    *("opentelemetry-distro==0.66b2", "opentelemetry-exporter-otlp==1.45.2"),
    *("flask", "django", "fastapi", "uvicorn", "celery[redis]", "supervisor", "nbconvert", "ipykernel"),
)
_MODULE = "tests.distros.frameworks"
_REQUESTS = 30
_TASKS = 12


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    with environment("frameworks", _REQUIREMENTS) as binaries:
        yield binaries / "python"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as receiver:
        yield receiver


def _flask(port: int, _directory: Path) -> list[str]:
    return ["-m", "flask", "--app", f"{_MODULE}:create_flask", "run", "--port", str(port)]


def _django(port: int, _directory: Path) -> list[str]:
    return ["-m", _MODULE, str(port)]


def _fastapi(port: int, _directory: Path) -> list[str]:
    options = ["--factory", "--workers=2", f"--port={port}", "--no-access-log"]
    return ["-m", "uvicorn", *options, f"{_MODULE}:create_fastapi"]


def _supervisord(port: int, directory: Path) -> list[str]:
    """With a server that it starts, which is another Python."""
    configuration = directory / "supervisord.conf"
    configuration.write_text(
        f"[supervisord]\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={directory}/pid\n"
        f"[program:web]\ncommand=python -m flask --app {_MODULE}:create_flask run --port {port}\n"
    )
    return ["-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(configuration)]


def _helpers(processes: set[int]) -> tuple[list[int], set[BpfObject]]:
    """Those of an application and of the Pythons that it has executed, and what they hold."""
    helpers = [helper for process in processes for helper in helpers_of(process)]
    return helpers, set[BpfObject]().union(*map(held_by, helpers))


def _counted(receiver: Receiver, port: int, role: str) -> int:
    """The sessions of this port that are in the histograms of durations, in the last export of each helper."""
    points = [point for point in receiver.points() if point.name == "tcplife.session.duration"]
    mine = [point for point in points if point.attributes.get("server.port") == port]
    latest = {(str(point.resource), frozenset(point.attributes.items())): point for point in mine}
    return sum(point.count or 0 for point in latest.values() if point.attributes["tcplife.role"] == role)


@pytest.mark.parametrize(
    "server", [_flask, _django, _fastapi, _supervisord], ids=["flask", "django", "fastapi", "supervisord"]
)
def test_each_request_is_reported_once(
    server: Callable[[int, Path], list[str]], python: Path, receiver: Receiver, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    client = Client(port)
    environ = {"PATH": f"{python.parent}:{os.environ['PATH']}"}
    with Traced(*server(port, tmp_path), receiver=receiver, export="auto", environ=environ, python=python) as app:
        answered = {client.request() for _ in range(_REQUESTS)}
        helpers, bpf = _helpers({app.pid, *answered})
        assert helpers
        receiver.wait_for(client.made)
        app.end(signal.SIGTERM)
    for helper in helpers:
        wait_until_ended(helper)
    wait_until_gone(bpf)
    assert differences(client.made, [end for end in receiver.ends() if end.local_port == port]) == ([], [])
    assert _counted(receiver, port, "server") == len(client.made) == _REQUESTS
    assert not [line for line in app.said if line.startswith("otel-tcplife: ")]


_SEND = """
import json, sys
from tests.distros.frameworks import celery

port, count = map(int, sys.argv[1:])
results = [celery.send_task("connect", [port]) for _ in range(count)]
print(json.dumps([result.get(timeout=300) for result in results]))
"""


def test_each_task_is_reported_once_though_each_has_a_worker_of_its_own(
    python: Path, receiver: Receiver, tmp_path: Path
) -> None:
    """Workers that are forked after others had sessions: what the SDK would count again is counted once."""
    [redis] = free_ports(1)
    options = ["worker", "--pool=prefork", "--concurrency=2", "--max-tasks-per-child=1", "--without-gossip"]
    celery = ["-m", "celery", "--app", f"{_MODULE}:celery", *options]
    environ = {"BROKER": f"redis://127.0.0.1:{redis}/0"}
    with _redis(redis, tmp_path), _listener() as port:
        with Traced(*celery, receiver=receiver, export="auto", environ=environ, python=python) as app:
            send = [python, "-c", _SEND, str(port), str(_TASKS)]
            done = subprocess.run(send, env=environ, stdout=subprocess.PIPE, text=True, check=True)
            connected = sorted(tuple(each) for each in json.loads(done.stdout))
            helpers, bpf = _helpers({app.pid})
            wait_until(lambda: len(_of(receiver, port)) >= _TASKS, lambda: "not all are reported")
            app.end(signal.SIGTERM)
        for helper in helpers:
            wait_until_ended(helper)
        wait_until_gone(bpf)
    reported = [(int(log.attributes["process.pid"]), log.ports[0]) for log in _of(receiver, port)]
    assert sorted(reported) == connected
    assert len({pid for pid, _ in connected}) == _TASKS
    assert _counted(receiver, port, "client") == _TASKS
    assert not [line for line in app.said if line.startswith("otel-tcplife: ")]


def _notebook(source: str) -> str:
    """One of one cell."""
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": source,
    }
    kernel = {"name": "python3", "display_name": "Python", "language": "python"}
    metadata: dict[str, Any] = {"kernelspec": kernel}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]})


def test_what_a_notebook_connects_is_reported_as_its_kernels(python: Path, receiver: Receiver, tmp_path: Path) -> None:
    """The kernel is another Python, with a helper of its own; that of Jupyter reports nothing of it."""
    notebook = tmp_path / "notebook.ipynb"
    with _listener() as port:
        source = f"import socket\nfor _ in range({_TASKS}): socket.create_connection(('127.0.0.1', {port})).close()"
        notebook.write_text(_notebook(source))
        convert = ["-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(notebook)]
        environ = {"HOME": str(tmp_path)}
        with Traced(*convert, receiver=receiver, export="auto", environ=environ, python=python) as app:
            assert app.wait() == 0
            wait_until(lambda: len(_of(receiver, port)) >= _TASKS, lambda: "not all are reported")
    logs = _of(receiver, port)
    assert len(logs) == _TASKS
    [kernel] = {int(log.attributes["process.pid"]) for log in logs}
    assert kernel != app.pid
    wait_until(lambda: _counted(receiver, port, "client") == _TASKS, lambda: "not all are counted")
    assert not [line for line in app.said if line.startswith("otel-tcplife: ")]


def _of(receiver: Receiver, port: int) -> list[ReceivedLog]:
    """What was reported of sessions with this port at the other end."""
    return [log for log in receiver.logs() if log.ports[1] == port]


@contextmanager
def _redis(port: int, directory: Path) -> Generator[None]:
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(directory)]
    with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: accepts(port), lambda: "Redis does not listen")
        yield
        process.terminate()


@contextmanager
def _listener() -> Generator[int]:
    """A port at which connections are accepted, and closed at once; none of the ephemeral ones, as metrics have it."""

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            connection.close()

    [port] = free_ports(1)
    listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=accept, daemon=True).start()
    yield port
