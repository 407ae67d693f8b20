"""Who the owner of a session is: its users, its parent, its creation, and its pid in its own PID namespace."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.actor import Actor, run_actor
from tests.support.host_agent import HostAgent
from tests.support.origin import Origin, unix_ns
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import ReceivedLog, Scalar, read_otlp_json_lines

_CLONE_NEWPID = 0x2000_0000

_USERS = ("process.user.id", "process.real_user.id", "tcplife.socket.user.id")


@contextmanager
def _traced(directory: Path) -> Generator[tuple[Actor, Actor]]:
    """A client and a server, both of root, traced in the `with` block."""
    with (
        run_actor(CLIENT) as client,
        run_actor(SERVER) as server,
        HostAgent(["--otlp-file", str(directory), "--no-table"]),
    ):
        yield client, server


def _end(session: Session) -> None:
    session.client.tell("close", "c")
    assert session.server.tell("receive", "s", 1) == 0
    session.server.tell("close", "s")


def _ends(directory: Path, session: Session) -> tuple[ReceivedLog, ReceivedLog]:
    """The records of the client and of the server."""
    ports = session.client_port, session.server_port
    logs = read_otlp_json_lines(directory / "logs.jsonl").logs
    [client], [server] = ([log for log in logs if log.ports == each] for each in (ports, ports[::-1]))
    return client, server


def _users(log: ReceivedLog) -> tuple[Scalar | None, ...]:
    return tuple(log.attributes.get(name) for name in _USERS)


def test_the_users_are_those_of_the_process_when_it_connects_and_when_it_closes(tmp_path: Path) -> None:
    with _traced(tmp_path) as (client, server):
        session = Session(FAMILIES[0], client, server)
        client.tell("bind", "c", "127.0.0.1", [])  # a socket of root
        client.tell("libc", "setresuid", 1001, 1002, 0)
        session.server_port = server.tell("listen", "listener", "127.0.0.1")
        session.client_port = client.tell("local_port", "c")
        assert client.tell("connect", "c", "127.0.0.1", session.server_port) == ""
        client.tell("libc", "seteuid", 0)
        server.tell("libc", "seteuid", 1004)
        server.tell("accept", "listener", "s")  # a socket of that user
        server.tell("libc", "seteuid", 0)
        _end(session)
    of_client, of_server = _ends(tmp_path, session)
    assert _users(of_client) == (1002, 1001, 0)
    assert _users(of_server) == (0, None, 1004)


def test_users_that_are_all_the_same_are_there_once(tmp_path: Path) -> None:
    with _traced(tmp_path) as (client, server):
        for actor in (client, server):
            actor.tell("libc", "setresuid", 1005, 1005, 1005)
        session = Session(FAMILIES[0], client, server)
        session.open()
        _end(session)
    assert [_users(log) for log in _ends(tmp_path, session)] == [(1005, None, None)] * 2


def test_a_process_in_a_pid_namespace_has_the_pid_that_it_knows_itself(tmp_path: Path) -> None:
    with _traced(tmp_path) as (client, server):
        for actor in (client, server):
            actor.tell("libc", "unshare", _CLONE_NEWPID)  # its children are in a new one
        inside = client.fork(CLIENT), server.fork(SERVER)
        assert [actor.tell("libc", "getpid") for actor in inside] == [1, 1]
        session = Session(FAMILIES[0], *inside)
        session.open()
        _end(session)
    for log, actor, parent in zip(_ends(tmp_path, session), inside, (client, server)):
        assert (log.attributes["process.pid"], log.attributes["process.vpid"]) == (actor.pid, 1)
        assert log.attributes["process.parent_pid"] == parent.pid


def test_what_a_process_in_a_pid_namespace_forks_has_its_own(tmp_path: Path) -> None:
    with _traced(tmp_path) as (outside, server):
        outside.tell("libc", "unshare", _CLONE_NEWPID)
        outside.tell("libc", "signal", signal.SIGCHLD, signal.SIG_IGN)  # an init ends when all others are reaped
        outside.fork("act-init")
        client = outside.fork(CLIENT)
        own = client.tell("libc", "getpid")
        assert own > 1
        session = Session(FAMILIES[0], client, server)
        session.open()
        _end(session)
    of_client, of_server = _ends(tmp_path, session)
    assert (of_client.attributes["process.pid"], of_client.attributes["process.vpid"]) == (client.pid, own)
    assert "process.vpid" not in of_server.attributes


def test_the_parent_is_the_one_that_it_has_then(tmp_path: Path) -> None:
    """The client's parent has gone when it connects, and the server's when it closes."""
    with _traced(tmp_path) as (parent, others):
        client, server = parent.fork(CLIENT), others.fork(SERVER)
        session = Session(FAMILIES[0], client, server)
        parent.leave()
        session.open()
        others.leave()
        origins = Origin.of(client.pid), Origin.of(server.pid)
        _end(session)
    assert {parent.pid, others.pid}.isdisjoint(origin.parent_pid for origin in origins)
    for log, origin in zip(_ends(tmp_path, session), origins):
        assert log.attributes["process.parent_pid"] == origin.parent_pid


def test_a_process_was_created_when_it_was_forked_whatever_it_runs(tmp_path: Path) -> None:
    """It waits a while before it becomes another program, of which it is the creation that counts."""
    waiting = ["sh", "-c", 'sleep 0.3; exec "$@"', "sh"]
    with (
        HostAgent(["--otlp-file", str(tmp_path), "--no-table"]),
        run_actor(CLIENT, run=waiting) as client,
        run_actor(SERVER) as server,
    ):
        child = server.fork("act-child")
        session = Session(FAMILIES[0], client, child)
        session.open()
        _end(session)
    created = [unix_ns(str(log.attributes["process.creation.time"])) for log in _ends(tmp_path, session)]
    for at, actor in zip(created, (client, child)):
        earliest, latest = actor.origin.created
        assert earliest <= at <= latest
    assert created[0] < created[1]


@pytest.mark.parametrize("how", ["leave", "kill"])
def test_one_that_ends_with_the_socket_open_is_known_as_well(how: str, tmp_path: Path) -> None:
    with _traced(tmp_path) as (client, server):
        server.tell("libc", "setresuid", 1006, 1007, 0)
        session = Session(FAMILIES[0], client, server)
        session.open()
        server.kill() if how == "kill" else server.leave()
        client.tell("close", "c")
    _, of_server = _ends(tmp_path, session)
    assert of_server.attributes["process.parent_pid"] == server.origin.parent_pid
    assert _users(of_server) == (1007, 1006, None)
    earliest, latest = server.origin.created
    assert earliest <= unix_ns(str(of_server.attributes["process.creation.time"])) <= latest
