"""Applications whose end, or whose ways, are hard on whoever exports their sessions."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from otel_tcplife import TcplifeInstrumentor
from tests.plugin.forking.steps import HOST, end_session, fork, make_session, open_session, tell, wait


def sudden_end(number: str) -> None:
    """A hundred and one sessions, and at once the end by a signal."""
    tell(ready=True)
    wait()
    for size in range(101):
        make_session(size + 1)
    os.kill(os.getpid(), int(number))
    signal.pause()


def open_at_the_end() -> None:
    """Sessions that are open when the process ends without another word."""
    tell(ready=True)
    wait()
    for size in (1, 1000):
        client, server = open_session()
        ports = client.getsockname()[1], server.getsockname()[1]
        client.sendall(bytes(size))
        server.recv(size, socket.MSG_WAITALL)
        tell(end=["client", *ports, size, 0])
        tell(end=["server", *reversed(ports), 0, size])
        client.detach()
        server.detach()
    os._exit(0)


def waits_for_any_child() -> None:
    """An application that waits for each child that it has, as process managers do."""
    make_session()
    for _ in range(3):
        fork(make_session)
    waited: list[int] = []
    while True:
        try:
            waited.append(os.wait()[0])
        except ChildProcessError:
            break
    tell(waited=len(waited))


def gives_up_privileges() -> None:
    """A process that becomes nobody, and forks."""
    make_session()
    os.setgid(65534)
    os.setuid(65534)
    make_session()
    os.waitpid(fork(make_session), 0)


def chain() -> None:
    """A child of a child of a child, each of which goes on when the one before it has ended."""
    make_session()
    for _ in range(4):
        if os.fork():
            os._exit(0)
        make_session()
    tell(chained=os.getpid())
    wait()
    make_session()


def pool() -> None:
    """A pool of processes that are replaced."""
    make_session()
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as executor:
        list(executor.map(make_session, range(1, 21)))
    make_session()


def many_short_lived() -> None:
    """Children that have a session each, and end."""
    for _ in range(200):
        os.waitpid(fork(make_session), 0)


def begins_with_descriptors() -> None:
    """Tracing that begins anew when the process has descriptors that others inherit."""
    instrumentor = TcplifeInstrumentor()
    instrumentor.uninstrument()
    with socket.create_server((HOST, 0)) as listener:
        listener.set_inheritable(True)
        instrumentor.instrument()
        make_session()
        tell(ready=True)
        wait()


def goes_on() -> None:
    """Sessions when it may, twice."""
    make_session()
    tell(ready=True)
    wait()
    make_session()
    end_session(*open_session())
    tell(more=True)
    wait()


def stops_and_starts() -> None:
    """Tracing that ends and begins anew."""
    make_session()
    TcplifeInstrumentor().uninstrument()
    end = open_session()
    for each in end:
        each.close()
    TcplifeInstrumentor().instrument()
    make_session()


def holds_open() -> None:
    """A session that goes on until all are to end."""
    client, server = open_session()
    tell(ports=[client.getsockname()[1], server.getsockname()[1]])
    wait()
    end_session(client, server)
