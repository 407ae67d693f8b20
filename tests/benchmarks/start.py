"""How long a start takes: python -m tests.benchmarks.start [ROUNDS].

Of the command, until it says that it traces and until the first session that it reports; of an application under the
agent, how much later it begins. Each with and without the compiler, one after the other in each round.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.report import row, with_goal
from tests.benchmarks.subjects import LIBBPF_TCPLIFE, Receiver, Running, Subject, instrumented
from tests.support.host_agent import COMMAND
from tests.support.received import read_otlp_json_lines

_COMPILES = {"OTEL_PYTHON_TCPLIFE_CACHE": "none"}
_FROM_CACHE: dict[str, str] = {}
_OFF = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "tcplife"}
_EXPORTED_WITHIN = 1.5
"""Seconds."""
_GOALS = {
    "from the cache, until the first session": 0.4,
    "from the cache, an application with the helper, later by": 0.3,
    "from the cache, an application with the providers, later by": 0.3,
}
"""Seconds."""


def main(rounds: int = 5) -> None:
    """Measure all of them; the first round, which fills the cache, does not count."""
    with own_cache(), _sessions() as port:
        print("start")
        starts: dict[str, list[float]] = {}
        for number in range(rounds + 1):
            for name, seconds in {**_of_command(port), **_of_application()}.items():
                starts.setdefault(name, []).extend([seconds] if number else [])
        for name, seconds in starts.items():
            row(name, with_goal(seconds, " s", _GOALS.get(name)))


@contextmanager
def own_cache() -> Generator[None]:
    """What is measured uses a cache that begins empty."""
    with tempfile.TemporaryDirectory() as directory:
        os.environ["CACHE_DIRECTORY"] = directory
        yield


def _of_command(port: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, variables in (("it compiles", _COMPILES), ("from the cache", _FROM_CACHE)):
        with tempfile.TemporaryDirectory() as output:
            command = [COMMAND, "--no-table", "-D", str(port), "--otlp-file", output]
            began = time.time_ns()
            with Running(Subject(name, command, ": tracing;", variables)) as running:
                found[f"{name}, until it traces"] = running.start_seconds
                time.sleep(_EXPORTED_WITHIN)
            first = min(log.time_unix_nano for log in read_otlp_json_lines(Path(output) / "logs.jsonl").logs)
            found[f"{name}, until the first session"] = (first - began) / 1e9
    with Running(LIBBPF_TCPLIFE) as running:
        found["libbpf tcplife, until its header"] = running.start_seconds
    return found


def _of_application() -> dict[str, float]:
    found: dict[str, float] = {}
    without = _application(_OFF)
    for export in ("helper", "providers"):
        for name, variables in (("it compiles", _COMPILES), ("from the cache", _FROM_CACHE)):
            of_way = {"OTEL_PYTHON_TCPLIFE_EXPORT": export, **variables}
            found[f"{name}, an application with the {export}, later by"] = _application(of_way) - without
    return found


def _application(variables: Mapping[str, str]) -> float:
    with Receiver() as receiver:
        subject = instrumented({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, **variables})
        with Running(subject) as running:
            return running.start_seconds


@contextmanager
def _sessions() -> Generator[int]:
    """Sessions all the time, one a millisecond; the port of their server."""
    stopped = threading.Event()

    def make(listener: socket.socket) -> None:
        while not stopped.wait(0.001):
            with socket.create_connection(listener.getsockname()), listener.accept()[0]:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        making = threading.Thread(target=make, args=[listener])
        making.start()
        yield listener.getsockname()[1]
        stopped.set()
        making.join()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
