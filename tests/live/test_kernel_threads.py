"""A kernel thread that closes a socket, or connects one, is never its owner."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager

import numpy as np
import pytest

from otel_tcplife.options import DEFAULT_SIZES, Options, Scope
from otel_tcplife.probe import live
from otel_tcplife.probe.live import LiveSource, open_live_source
from otel_tcplife.session import OwnerSource, Role, SessionBatch, concatenated
from tests.live.handed_to_kernel import IPPROTO_MPTCP, close_within_poll, close_within_unread_message
from tests.support.origin import Origin
from tests.support.patience import eventually

WAYS: dict[str, Callable[[socket.socket], Callable[[], None]]] = {
    "asynchronous poll": close_within_poll,
    "unread message": close_within_unread_message,
}


def _source(scope: Scope) -> LiveSource:
    return open_live_source(Options(scope, sizes=DEFAULT_SIZES[scope]), hide_tracer=False)


def _read_until_ended(source: LiveSource, port: int, ends: int) -> SessionBatch:
    """What was reported of the sessions with this port, once so many of their ends have come."""
    batches: list[SessionBatch] = []

    def found() -> SessionBatch:
        batches.append(source.read())
        read = concatenated(batches)
        return read[(read["local_port"] == port) | (read["peer_port"] == port)]

    eventually(lambda: len(found()) >= ends)
    return found()


def _end_of_server(batch: SessionBatch) -> SessionBatch:
    return batch[batch["role"] == Role.SERVER]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset by the peer"])
@pytest.mark.parametrize("way", WAYS)
def test_what_a_kernel_thread_closes_has_no_owner(way: str, reset: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(_source(Scope.HOST)) as source:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        end = WAYS[way](listener.accept()[0])
        client.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, np.array([1, 0], np.int32).tobytes() if reset else b"\0" * 8
        )
        if not reset:
            client.sendall(b"x")
        client.close()
        ends = _read_until_ended(source, port, 2)
        end()
        source.drain()
        assert source.stats().seen == sum(source.stats().outcomes.values())
    [server] = _end_of_server(ends)
    assert (server["pid"], server["comm"], server["owner_source"]) == (0, b"", 0)
    [client_end] = ends[ends["role"] == Role.CLIENT]
    assert client_end["pid"] == os.getpid()


@pytest.mark.parametrize("way", WAYS)
def test_of_a_process_that_is_traced_it_is_counted_as_unclaimed(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was of this process is not known for sure, and a loss that is not counted must not be."""
    monkeypatch.setattr(live, "_SWEEP_INTERVAL", 0.0)
    monkeypatch.setattr(live, "UNCLAIMED_PATIENCE", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(_source(Scope.PROCESS)) as source:
        client = socket.create_connection(listener.getsockname())
        end = WAYS[way](listener.accept()[0])
        client.sendall(b"x")
        client.close()

        def unclaimed() -> int:
            source.read()  # which looks for what has waited long enough
            return source.stats().outcomes["unclaimed"]

        eventually(unclaimed)
        end()
        source.drain()
        assert source.stats().outcomes["unclaimed"] == 1
        assert source.stats().seen == sum(source.stats().outcomes.values())


@pytest.mark.parametrize("scope", Scope)
def test_nor_has_what_packets_end_that_the_peer_sends_after_that(scope: Scope) -> None:
    """The kernel sent the first FIN. What ends the socket then interrupts the task that sends it, which is this one."""
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(_source(scope)) as source:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        close_within_unread_message(listener.accept()[0])
        assert client.recv(1) == b""
        client.close()
        if scope is Scope.HOST:
            ends = _read_until_ended(source, port, 2)
        else:
            eventually(lambda: source.stats().seen == 2)
            ends = _read_until_ended(source, port, 1)
        stats = source.stats()
        assert stats.outcomes["unclaimed"] == (0 if scope is Scope.HOST else 1)
        assert stats.seen == sum(stats.outcomes.values())
    assert [end["pid"] for end in ends if end["role"] == Role.CLIENT] == [os.getpid()]
    assert [end["owner_source"] for end in _end_of_server(ends)] == [0] * (len(ends) - 1)


@contextmanager
def _child_that_has_all_sockets() -> Generator[None]:
    """It ends with this block, or with this process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        yield
    finally:
        os.close(writer)
        os.waitpid(child, 0)
        os.close(reader)


def test_what_several_traced_processes_had_is_reported_without_an_owner() -> None:
    """It is one of the application's, whichever of its processes had it last."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        port = listener.getsockname()[1]
        with closing(_source(Scope.PROCESS)) as source:
            with _child_that_has_all_sockets():
                eventually(lambda: [*source.open_sessions()])  # not too soon after the one that has begun tracing
            close_within_unread_message(accepted)
            assert client.recv(1) == b""
            client.close()
            ends = _read_until_ended(source, port, 2)
            assert source.stats().outcomes["unclaimed"] == 0
    [server] = ends[ends["local_port"] == port]
    assert (server["pid"], server["owner_source"], server["adopted"]) == (0, 0, 1)


@pytest.fixture
def mptcp_listener() -> socket.socket:
    if not os.path.exists("/proc/sys/net/mptcp/enabled"):
        pytest.skip("this kernel has no Multipath TCP")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("closes_first", ["client", "server"])
def test_the_owner_of_an_mptcp_session_is_who_closed_its_socket(
    mptcp_listener: socket.socket, closes_first: str, scope: Scope
) -> None:
    """A worker of the kernel closes the TCP connection that it runs over."""
    with mptcp_listener as listener, closing(_source(scope)) as source:
        port = listener.getsockname()[1]
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        client.connect(("127.0.0.1", port))
        server, _ = listener.accept()
        client.sendall(b"x" * 10)
        assert server.recv(10) == b"x" * 10
        first, second = (client, server) if closes_first == "client" else (server, client)
        first.close()
        assert second.recv(1) == b""
        second.close()
        ends = _read_until_ended(source, port, 2)
    assert set(ends["pid"].tolist()) == {os.getpid()}
    assert set(ends["parent_pid"].tolist()) == {os.getppid()}
    assert set(ends["effective_uid"].tolist()) == {os.geteuid()}
    [created_at] = set(ends["created_at"].tolist())
    earliest, latest = Origin.of(os.getpid()).created
    assert earliest <= created_at <= latest
    assert _end_of_server(ends)["owner_source"].tolist() == [OwnerSource.CLOSE]


def test_a_plain_client_of_an_mptcp_listener(mptcp_listener: socket.socket) -> None:
    with mptcp_listener as listener, closing(_source(Scope.HOST)) as source:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        listener.accept()[0].close()
        client.close()
        ends = _read_until_ended(source, port, 2)
    assert set(ends["pid"].tolist()) == {os.getpid()}
