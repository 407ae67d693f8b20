"""Of scope process, the kernel follows the sessions of this process and of what it forks, and no others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from otel_tcplife.options import DEFAULT_SIZES, Filters, Options, Scope
from otel_tcplife.probe.live import LiveSource, open_live_source
from otel_tcplife.session import CloseReason, Event, OwnerSource, Role, SessionBatch, concatenated
from tests.support.actor import run_actor
from tests.support.background_process import refusing_port
from tests.support.traffic import Traffic

Row = dict[str, Any]


@contextmanager
def tracing(
    interim: float = 0, most_sessions: int = DEFAULT_SIZES[Scope.PROCESS].max_sessions
) -> Generator[LiveSource]:
    sizes = replace(DEFAULT_SIZES[Scope.PROCESS], max_sessions=most_sessions)
    source = open_live_source(Options(Scope.PROCESS, Filters(), sizes, interim), hide_tracer=False)
    try:
        yield source
    finally:
        source.close()


def _drain(source: LiveSource) -> list[Row]:
    batch = source.drain()
    assert source.stats().seen == sum(source.stats().outcomes.values())
    assert source.stats().outcomes["submitted"] == len(batch)
    assert source.stats().active == 0
    return _rows(batch)


def _rows(batch: SessionBatch) -> list[Row]:
    names = batch.dtype.names or ()
    return [dict(zip(names, row)) for row in batch.tolist()]


def _ports(row: Row) -> tuple[int, int]:
    return row["local_port"], row["peer_port"]


def _fork(action: Callable[[], object]) -> int:
    """Have a child do this and exit; return its pid."""
    child = os.fork()
    if not child:
        try:
            action()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return child


def test_its_own_sessions_and_no_others() -> None:
    with run_actor("act-client") as client, run_actor("act-server") as server, refusing_port() as refusing:
        before = Traffic()
        with tracing() as source:
            foreign = server.tell("listen", "l", "127.0.0.1")
            _, error = client.connect("c", "127.0.0.1", foreign)
            assert not error
            server.tell("accept", "l", "s")
            client.tell("close", "c")
            server.tell("close", "s")
            client.connect("refused", "127.0.0.1", refusing)
            for traffic in (before, Traffic()):
                traffic.sessions(2)
                client.connect("c", "127.0.0.1", traffic.port)
                ours = traffic.accept()
                client.tell("close", "c")
                ours.close()
                traffic.close()
            theirs = socket.create_connection(("127.0.0.1", foreign))
            server.tell("accept", "l", "s")
            theirs.close()
            server.tell("close", "s")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", refusing))
            rows = _drain(source)
    # of each listener 2 sessions of both ends and 1 that a foreign client opened; 1 with a foreign server; 1 refused
    assert len(rows) == 2 * (2 * 2 + 1) + 1 + 1
    assert {row["pid"] for row in rows} == {os.getpid()}
    assert sum(row["event"] == Event.CONNECT_FAILED for row in rows) == 1
    assert sum(row["role"] == Role.SERVER for row in rows) == 2 * 3


def test_what_it_forks_and_not_what_runs_another_program() -> None:
    traffic = Traffic()
    with tracing() as source:
        child = _fork(lambda: traffic.sessions(1))
        grandchildren: list[int] = []
        read, write = os.pipe()
        _fork(lambda: os.write(write, str(_fork(lambda: traffic.sessions(1))).encode()))
        grandchildren.append(int(os.read(read, 20)))
        connect = f"import socket; socket.create_connection(('127.0.0.1', {traffic.port})).close()"
        subprocess.run([sys.executable, "-IS", "-c", connect], check=True)
        traffic.accept().close()
        rows = _drain(source)
    traffic.close()
    os.close(read)
    os.close(write)
    assert sorted(row["pid"] for row in rows) == sorted([child] * 2 + grandchildren * 2 + [os.getpid()])


_BECOMES_ANOTHER = (
    """
import os, sys
from opentelemetry.sdk.metrics import MeterProvider
from otel_tcplife.tracing import start_tracing
tracing = start_tracing(meter_provider=MeterProvider())
look = """
    + repr("""
import os
paths = [f"/proc/self/fd/{descriptor}" for descriptor in os.listdir("/proc/self/fd")]
print(["bpf" for path in paths if os.path.lexists(path) and "bpf" in os.readlink(path)], flush=True)
""")
    + """
exec(look)
os.execv(sys.executable, [sys.executable, "-I", "-c", look])
"""
)


def test_a_process_that_becomes_another_one_traces_no_more() -> None:
    done = subprocess.run([sys.executable, "-c", _BECOMES_ANOTHER], capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert "bpf" in before
    assert after == "[]"


def test_sessions_that_are_open_when_it_begins() -> None:
    with run_actor("act-client") as client:
        traffic = Traffic()
        both = traffic.open()
        port, _ = client.connect("c", "127.0.0.1", traffic.port)
        ours = traffic.accept()
        with tracing() as source:
            for end in (*both, ours):
                end.close()
            client.tell("close", "c")
            rows = _drain(source)
        traffic.close()
    assert len(rows) == 3
    assert {row["owner_source"] for row in rows} == {OwnerSource.ADOPTED}
    assert {row["adopted"] for row in rows} == {1}
    assert _ports(rows[2]) == (traffic.port, port)


@pytest.mark.parametrize("reset", [False, True])
def test_an_accepted_socket_that_another_process_handed_over(reset: bool) -> None:
    """Nothing in the kernel tells that it will be ours, until we close it."""
    with tracing() as source:
        ours, theirs = socket.socketpair()
        server = subprocess.Popen(
            [sys.executable, "-IS", "-c", _HANDS_OVER, str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        port = int(ours.recv(10))
        client = socket.create_connection(("127.0.0.1", port))
        _, [descriptor], _, _ = socket.recv_fds(ours, 1, 1)
        server.wait()
        accepted = socket.socket(fileno=descriptor)
        client.sendall(bytes(300))
        assert len(accepted.recv(300, socket.MSG_WAITALL)) == 300
        accepted.sendall(bytes(50))
        assert len(client.recv(50, socket.MSG_WAITALL)) == 50
        if reset:
            client.sendall(bytes(7))
            accepted.recv(7, socket.MSG_PEEK | socket.MSG_WAITALL)  # unread, so that close(2) resets
        accepted.close()
        client.close()
        rows = {Role(row["role"]): row for row in _drain(source)}
    assert rows.keys() == {Role.CLIENT, Role.SERVER}
    handed = rows[Role.SERVER]
    assert (handed["pid"], handed["owner_source"], handed["adopted"]) == (os.getpid(), OwnerSource.CLOSE, 1)
    assert (handed["bytes_sent"], handed["bytes_received"]) == (50, 307 if reset else 300)
    assert handed["close_reason"] == (CloseReason.LOCAL_RESET if reset else CloseReason.LOCAL_CLOSE)


_HANDS_OVER = """
import socket, sys
wire = socket.socket(fileno=int(sys.argv[1]))
listener = socket.create_server(("127.0.0.1", 0))
wire.send(str(listener.getsockname()[1]).encode())
accepted, _ = listener.accept()
socket.send_fds(wire, [b"."], [accepted.fileno()])
"""


def test_a_session_that_goes_on_is_reported_at_both_ends() -> None:
    """Its server's owner is not known yet, but that it is one of ours."""
    traffic = Traffic()
    with tracing(interim=0.2) as source:
        client, server = traffic.open()
        reports: list[Row] = []
        while len({_ports(row) for row in reports}) < 2:
            for _ in source.open_sessions() if source.wants_scan else ():
                pass
            reports += _rows(source.read())
        client.close()
        server.close()
        ends = _rows(concatenated([source.read(), source.drain()]))
    traffic.close()
    assert {row["event"] for row in reports} == {Event.SESSION_PROGRESS}
    assert {row["pid"] for row in reports} == {os.getpid(), 0}
    assert [row["pid"] for row in ends if row["event"] == Event.SESSION_CLOSED] == [os.getpid()] * 2


def test_sessions_that_found_no_room_are_counted_however_many() -> None:
    traffic = Traffic()
    with tracing(most_sessions=8) as source:
        ends = [end for _ in range(50) for end in traffic.open()]
        for end in ends:
            end.close()
        batch = source.drain()
        outcomes = {outcome: count for outcome, count in source.stats().outcomes.items() if count}
        assert source.stats().seen == len(ends)
    traffic.close()
    assert len(batch) == outcomes["submitted"] < 50
    assert outcomes == {"submitted": len(batch), "map_full": len(ends) - len(batch)}


_IN_A_CONTAINER = """
import logging, os
from opentelemetry.sdk.metrics import MeterProvider
from otel_tcplife.tracing import start_tracing
from tests.support.traffic import Traffic
assert os.getpid() < 10
logging.basicConfig(format="%(message)s")
logging.getLogger("otel_tcplife").setLevel(logging.DEBUG)
traffic = Traffic()
with start_tracing(meter_provider=MeterProvider()):
    traffic.sessions(2)
    child = os.fork()
    if not child:
        traffic.sessions(1)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_in_a_pid_namespace_of_its_own() -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", _IN_A_CONTAINER]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if ": cache: " not in line] == [
        "otel-tcplife: the providers of the application export: no OTLP exporter is configured",
        "otel-tcplife: 6 sessions ended: 6 submitted",
        "otel-tcplife: providers: 6 disabled",
    ]
