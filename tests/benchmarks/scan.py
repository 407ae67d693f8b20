"""What a scan of open sessions costs, with the counting of what it finds."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Generator
from contextlib import closing, contextmanager

from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.resource import Resources
from otel_tcplife.options import Options, Sizes
from otel_tcplife.probe.live import open_live_source

_ROUNDS = 5
_MOST_SESSIONS = 1 << 18


def scan_seconds(ends: int) -> list[float]:
    """Seconds of CPU that each scan takes while so many ends of sessions are open."""
    with open_sessions(ends), closing(open_live_source(Options(sizes=Sizes(max_sessions=_MOST_SESSIONS)))) as source:
        aggregator = Aggregator(Resources(Resource({})), Preference(), {}, source.host)
        taken: list[float] = []
        while len(taken) < _ROUNDS:
            began, found = time.process_time(), 0
            for batch in source.open_sessions():
                found += len(batch)
                aggregator.add_open(batch, is_last=False)
            if found >= ends:
                taken.append(time.process_time() - began)
            else:  # too soon
                time.sleep(0.1)
        return taken


@contextmanager
def open_sessions(ends: int) -> Generator[None]:
    """Sessions on loopback, in as many processes as it takes for their descriptors."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    processes: list[int] = []
    try:
        while ends > 0:
            here = min(ends, most - 100)
            ends -= here
            processes.append(_opened(here // 2, f"127.0.0.{len(processes) + 2}"))
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _opened(sessions: int, address: str) -> int:
    """A process that has both ends of so many sessions open."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        listener = socket.create_server((address, 0), backlog=16)
        ends: list[socket.socket] = []
        for _ in range(sessions):
            ends += [socket.create_connection(listener.getsockname()), listener.accept()[0]]
        os.write(writing, b"x")
        signal.pause()
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    return process
