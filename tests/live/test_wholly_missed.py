"""Sockets of whose end the kernel told us nothing, and whose memory is another socket's when we find that out."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing

import numpy as np
import pytest

from otel_tcplife.options import Options, Scope
from otel_tcplife.probe.live import LiveSource, open_live_source
from otel_tcplife.session import SESSION, OwnerSource, SessionBatch
from tests.support.bpf_maps import KernelMap, own_map

_RESETS = struct.pack("ii", 1, 0)
"""SO_LINGER with which close() resets."""


@pytest.fixture
def source() -> Generator[LiveSource]:
    with closing(open_live_source(Options(), hide_tracer=False)) as source:
        yield source


@pytest.fixture
def listener() -> Generator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class _Begun:
    """A session, and where in the kernel its sockets are."""

    def __init__(self, client: socket.socket, listener: socket.socket, flows: KernelMap) -> None:
        before = flows.keys()
        client.connect(listener.getsockname())
        self.server = listener.accept()[0]
        new = flows.keys() - before
        [self.client_at] = [key for key in new if _is_ours(flows.get(key))]
        self.server_at = new - {self.client_at}
        """The server's, and what others have opened meanwhile."""


def _is_ours(flow: bytes | None) -> bool:
    """Whether the owner is this process, whose numbers lie side by side in struct owner."""
    return struct.pack("II", os.getpid(), os.getppid()) in (flow or b"")


def _drained(source: LiveSource, listener: socket.socket, put: int = 0) -> SessionBatch:
    """All ends that were reported of sessions with this listener; the balance of all, and what we have put, adds up."""
    batch = source.drain()
    assert source.stats().outcomes["submitted"] == len(batch)
    assert source.stats().seen + put == sum(source.stats().outcomes.values())
    port = listener.getsockname()[1]
    return batch[(batch["local_port"] == port) | (batch["peer_port"] == port)]


def _assert_one_more_is_lost(before: int, source: LiveSource) -> None:
    """Or more, if others have lost some meanwhile: that this one is counted once only, the balance tells in the end."""
    assert source.stats().outcomes["not_followed"] > before


def _disconnect(client: socket.socket) -> None:
    """End the session, so that the socket can have another one."""
    unspecified = struct.pack("H14x", socket.AF_UNSPEC)
    assert not ctypes.CDLL(None).connect(client.fileno(), unspecified, len(unspecified))


def _left_behind(client: socket.socket, listener: socket.socket, flows: KernelMap) -> int:
    """Where the client's socket is, once its session has ended and what was remembered of it is there again."""
    first = _Begun(client, listener, flows)
    left = flows.get(first.client_at)
    assert left
    _disconnect(client)
    first.server.close()
    flows.put(first.client_at, left)
    return first.client_at


def test_a_session_that_was_followed_is_counted_as_lost(source: LiveSource, listener: socket.socket) -> None:
    with own_map("flows") as flows, socket.socket() as client:
        _left_behind(client, listener, flows)
        before = source.stats().outcomes["not_followed"]
        client.connect(listener.getsockname())
        _assert_one_more_is_lost(before, source)
        client.close()
        listener.accept()[0].close()
    assert len(_drained(source, listener)) == 4


# Another program, which is not traced: it connects the socket that it is given
_CONNECTS_FOR_ANOTHER = """
import socket, sys
client = socket.socket(fileno=int(sys.argv[1]))
client.connect(("127.0.0.1", int(sys.argv[2])))
print(flush=True)
sys.stdin.read()
"""


def test_a_session_of_another_program_is_not_taken_for_it(listener: socket.socket) -> None:
    traced = Options(scope=Scope.PROCESS)
    with (
        closing(open_live_source(traced, hide_tracer=False)) as source,
        own_map("flows") as flows,
        socket.socket() as client,
    ):
        client_at = _left_behind(client, listener, flows)
        before = source.stats().outcomes["not_followed"]
        arguments = [str(client.fileno()), str(listener.getsockname()[1])]
        command = [sys.executable, "-IS", "-c", _CONNECTS_FOR_ANOTHER, *arguments]
        with subprocess.Popen(
            command, pass_fds=[client.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout
            other.stdout.readline()
            assert flows.get(client_at) is None
            client.close()
            server = listener.accept()[0]
        server.close()
        _assert_one_more_is_lost(before, source)
        ends = _drained(source, listener)
    port = listener.getsockname()[1]
    assert sorted(int(end["local_port"]) == port for end in ends) == [False, True, True]


def test_a_session_whose_beginning_was_missed_is_not_taken_for_it(source: LiveSource) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        own_map("flows") as flows,
        socket.socket() as client,
        socket.socket() as waiting,
    ):
        first = _Begun(client, listener, flows)
        left = flows.get(first.client_at)
        assert left
        with socket.create_connection(listener.getsockname()):  # there is no room for another one behind it
            waiting.setblocking(False)
            before = flows.keys()
            waiting.connect_ex(listener.getsockname())
            [waiting_at] = [key for key in flows.keys() - before if _is_ours(flows.get(key))]
            flows.put(waiting_at, left)
            lost = source.stats().outcomes["not_followed"]
            listener.accept()[0].close()
            select.select([], [waiting], [])
            _assert_one_more_is_lost(lost, source)
            assert flows.get(waiting_at) is None
            port = waiting.getsockname()[1]
            waiting.close()
            listener.accept()[0].close()
        first.server.close()
        ends = _drained(source, listener)
    assert port not in ends["local_port"].tolist()


def _waiting(listener: socket.socket) -> bytes:
    """A session that waits for its owner, as the one before at an address."""
    session = np.zeros(1, SESSION)
    session["closed_at"] = 1
    session["local_port"] = listener.getsockname()[1]
    return session.tobytes()


def test_a_session_that_waited_for_its_owner_does_not_get_another_socket_s(
    source: LiveSource, listener: socket.socket
) -> None:
    with own_map("flows") as flows, own_map("awaiting_owner") as awaiting, socket.socket() as client:
        begun = _Begun(client, listener, flows)
        awaiting.put(begun.client_at, _waiting(listener))
        client.close()
        begun.server.close()
    ends = _drained(source, listener, put=1)
    assert sorted(ends["owner_source"].tolist()) == [0, OwnerSource.CONNECT, OwnerSource.CLOSE]
    assert sorted(ends["pid"].tolist()) == [0, os.getpid(), os.getpid()]


def test_a_session_that_waited_for_its_owner_is_counted_as_lost_when_another_one_has_to(
    source: LiveSource, listener: socket.socket
) -> None:
    with own_map("flows") as flows, own_map("awaiting_owner") as awaiting, socket.socket() as client:
        begun = _Begun(client, listener, flows)
        for address in begun.server_at:
            awaiting.put(address, _waiting(listener))
        before = source.stats().outcomes["not_followed"]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        client.close()
        _assert_one_more_is_lost(before, source)
        begun.server.close()
    ends = _drained(source, listener, put=1)
    assert sorted(ends["owner_source"].tolist()) == [OwnerSource.CONNECT, OwnerSource.CLOSE]
