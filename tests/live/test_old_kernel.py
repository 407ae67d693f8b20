"""What the program does on kernels that are older than this one, as far as this one can show it."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, TypeVar

import pytest

from otel_tcplife.options import CACHE, DEFAULT_SIZES, Options, Scope
from otel_tcplife.probe import compiler
from otel_tcplife.probe.btf import read_kernel_btf
from otel_tcplife.probe.live import LiveSource, open_live_source
from otel_tcplife.session import Role, SessionBatch, concatenated
from tests.support.actor import Actor, run_actor
from tests.support.old_kernel import OlderBtf
from tests.support.place import cgroup, move
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session

_CGROUP = {("sock_cgroup_data", "val"): ("sock_cgroup_data", "cgroup")}
_TIMEOUTS = ("tcp_sock", "total_rto")
_GROUP_DEAD = ("trace_event_raw_sched_process_exit", "group_dead")


def _source(monkeypatch: pytest.MonkeyPatch, older: OlderBtf, scope: Scope = Scope.HOST) -> LiveSource:
    monkeypatch.setenv(str(CACHE.variable), "none")  # its programs are for the kernel as it is
    monkeypatch.setattr(compiler, "read_kernel_btf", lambda: older)
    return open_live_source(Options(scope, sizes=DEFAULT_SIZES[scope]), hide_tracer=False)


End = dict[str, Any]
Expected = TypeVar("Expected")


def _server_end(source: LiveSource, port: int) -> End | None:
    return _end_with(source, port, Role.SERVER)


def _end_with(source: LiveSource, port: int, role: Role) -> End | None:
    """The one end of this role with this port, by column; None where it does not come.

    The kernel may keep an end from the program, rarely, while other programs come and go at the same tracepoints.
    """
    batches: list[SessionBatch] = []
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        batches.append(source.read())
        found = concatenated(batches)
        found = found[(found["local_port"] == port) & (found["role"] == role)]
        if len(found):
            [end] = found.tolist()
            return dict(zip(found.dtype.names or (), end))
        time.sleep(0.01)
    return None


def _seen(play: Callable[[], tuple[End | None, Expected]]) -> tuple[End, Expected]:
    """The end that was played, and what is expected of it; played again where the kernel kept it from the program."""
    for _ in range(4):
        end, expected = play()
        if end:
            return end, expected
    raise AssertionError("no end was seen, of four that were played")


def test_the_cgroup_before_5_15(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in what is called `val` there, which here is the same place."""

    def play() -> tuple[End | None, int]:
        with cgroup("tcplife-test/old") as directory, run_actor(CLIENT) as client, run_actor(SERVER) as server:
            move(server.pid, directory)
            with closing(_source(monkeypatch, OlderBtf(renamed=_CGROUP))) as source:
                session = Session(FAMILIES[0], client, server)
                session.open()
                client.tell("close", "c")
                server.tell("receive", "s", 1)
                server.tell("close", "s")
                return _server_end(source, session.server_port), directory.stat().st_ino

    end, inode = _seen(play)
    assert end["cgroup"] == inode


@pytest.mark.parametrize("ends_by", ["leave", "kill"])
@pytest.mark.parametrize("began", ["before tracing", "while tracing"])
def test_the_executable_of_a_process_that_ends_before_6_16(
    began: str, ends_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sockets are closed when its executable is no longer known there: it was kept from before."""
    older = OlderBtf(without=[_GROUP_DEAD])

    def play() -> tuple[End | None, Actor]:
        with ExitStack() as stack:

            def trace() -> LiveSource:
                return stack.enter_context(closing(_source(monkeypatch, older)))

            source = trace() if began == "while tracing" else None
            client, server = stack.enter_context(run_actor(CLIENT)), stack.enter_context(run_actor(SERVER))
            session = Session(FAMILIES[0], client, server)
            source = source or trace()
            session.open()
            getattr(server, ends_by)()
            return _server_end(source, session.server_port), server

    end, server = _seen(play)
    assert (end["pid"], end["executable"].decode()) == (server.pid, server.executable)


def test_the_executable_of_a_fork_that_ends_before_6_16(monkeypatch: pytest.MonkeyPatch) -> None:
    older = OlderBtf(without=[_GROUP_DEAD])

    def play() -> tuple[End | None, int]:
        with (
            closing(_source(monkeypatch, older, Scope.PROCESS)) as source,
            socket.create_server(("127.0.0.1", 0)) as listener,
        ):
            client = socket.create_connection(listener.getsockname())
            child = os.fork()
            if not child:
                listener.accept()
                client.close()
                os._exit(0)
            os.waitpid(child, 0)
            end = _server_end(source, listener.getsockname()[1])
            client.close()
            return end, child

    end, child = _seen(play)
    assert (end["pid"], end["executable"].decode()) == (child, os.path.basename(os.path.realpath("/proc/self/exe")))


@pytest.mark.parametrize("has_timeouts", [False, True], ids=["before 6.7", "here"])
def test_retransmission_timeouts_are_unknown_before_6_7(has_timeouts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a connect that is not answered, as the listener has no room, and that is given up when it has asked again."""
    if has_timeouts and not read_kernel_btf().has(*_TIMEOUTS):
        pytest.skip("this kernel does not count them")
    older = OlderBtf(without=[] if has_timeouts else [_TIMEOUTS])

    def play() -> tuple[End | None, int]:
        with closing(_source(monkeypatch, older)) as source, socket.socket() as listener, socket.socket() as client:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            with socket.create_connection(listener.getsockname()):
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
                while not (sent_again := _sent_again(client)):
                    time.sleep(0.01)
                port = client.getsockname()[1]
                client.close()
            return _end_with(source, port, Role.CLIENT), sent_again

    end, sent_again = _seen(play)
    assert (end["retransmits"], end["handshake_retransmits"]) == (sent_again, sent_again)
    assert end["timeouts"] == (sent_again if has_timeouts else 0)


def _sent_again(sock: socket.socket) -> int:
    """tcpi_total_retrans of struct tcp_info."""
    return int(struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0])
