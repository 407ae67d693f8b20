"""The program wakes who reads the ring, before the CPUs together have filled half of it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager

from otel_tcplife.options import Filters, Options, Scope, Sizes
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.probe.live import LiveSource
from otel_tcplife.probe.loader import attach_program, prepare_program
from otel_tcplife.probe.ring import record_of
from otel_tcplife.probe.wakeups import Wakeups
from otel_tcplife.session import SESSION_IN_SPAN
from tests.support.patience import PATIENCE

_CPUS = os.cpu_count() or 1
_RING_BYTES = 65536 << (_CPUS - 1).bit_length()  # a power of two
_HALF = _RING_BYTES // 2 // record_of(SESSION_IN_SPAN).itemsize
_OPTIONS = Options(Scope.PROCESS, Filters(), Sizes(_RING_BYTES, 1024, 1024))


def _make_sessions(ends: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(ends // 2):
            client = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
            client.close()
            accepted.close()


@contextmanager
def _tracing(*, in_application: bool = False) -> Generator[tuple[LiveSource, int]]:
    """The source, and the descriptor of its ring."""
    attached = attach_program(prepare_program(_OPTIONS, hide_tracer=False))
    source = LiveSource(attached, _OPTIONS, in_application=in_application)
    try:
        yield source, attached.ring
    finally:
        source.close()


def test_once_there_is_much_and_only_then() -> None:
    deadline = Deadline(0)
    with _tracing() as (_, ring), closing(Wakeups(ring)) as wakeups:
        while wakeups.wait(0, deadline):  # from before
            pass
        _make_sessions(_HALF + _CPUS)
        assert wakeups.wait(PATIENCE, deadline)
        assert not wakeups.wait(0, deadline)
        deadline.set()
        assert not wakeups.wait(PATIENCE, deadline)


def test_the_end_is_not_waited_for() -> None:
    """Another thread sets the deadline, while nothing comes that would fill the ring."""
    deadline = Deadline(0)
    with _tracing() as (source, _):
        thread = threading.Timer(0.3, deadline.set)
        thread.start()
        while not deadline.is_set:
            source.wait(deadline)
        thread.join()
        _make_sessions(10)
        assert len(source.drain()) == 10


def test_greenlets_are_not_held_up() -> None:
    """In an application, nothing waits but the deadline, of which gevent makes one that lets others run."""
    waits: list[float] = []

    class Noting(Deadline):
        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            return False

    with _tracing(in_application=True) as (source, _):
        source.wait(Noting(0))
        assert waits == [source.pause]
