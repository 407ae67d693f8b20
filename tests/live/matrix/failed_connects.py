"""Connects that fail: of each cause, in each way of connecting; and those that are given up, or tried again."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from otel_tcplife.session_columns import OTHER_ERROR
from tests.live.matrix.connect_causes import ABSENT, OTHERS, REFUSED, UNANSWERED, Cause, at_server
from tests.live.matrix.ends import NOTHING, End
from tests.live.matrix.network import FAMILIES, Family, Network
from tests.live.matrix.session import MODELS, LiveEnd, Model, Session, open_session, prepare
from tests.live.matrix.stage import Programme, Scenario, Stage
from tests.support.expected_end import CLOSED, FAILED
from tests.support.sock_diag import can_destroy
from tests.support.stopwatch import Stopwatch

_NOWHERE = {"ipv4": "192.0.2.1", "ipv6": "2001:db8::1"}
"""Addresses that no route leads to from the namespaces that are made here."""


@contextmanager
def _fails(client: LiveEnd) -> Generator[None]:
    """A connect begins and fails in this block."""
    with Stopwatch() as stopwatch:
        yield
    client.opening = client.closing = stopwatch


def _block(session: Session, error: str) -> None:
    with _fails(session.client):
        assert session.client.do("connect", *session.target) == error


def _in_thread(session: Session, error: str) -> None:
    client = session.client
    client.actor = client.owner = client.process.thread("act-thread")
    _block(session, error)


def _in_child(session: Session, error: str) -> None:
    """It belongs to the child, which connects, though its parent has the socket, too."""
    client = session.client
    client.actor = client.owner = client.process.fork("act-child")
    _block(session, error)


def _non_blocking(session: Session, error: str) -> None:
    """Where the error came by ICMP, the kernel itself may go on until the socket is closed."""
    client = session.client
    with _fails(client):
        assert client.do("connect_later", *session.target) == "EINPROGRESS"
        assert client.do("connected") == error
        client.close()


def _left_to_child(session: Session, error: str) -> None:
    """It belongs to the parent, which began to connect, though only the child comes to know that it failed."""
    client = session.client
    with _fails(client):
        assert client.do("connect_later", *session.target) == "EINPROGRESS"
        child = client.process.fork("act-child")
        client.close()
        assert child.tell("connected", "s") == error
        child.tell("close", "s")


Way = Callable[[Session, str], None]

WAYS: dict[str, Way] = {
    "blocking": _block,
    "in a thread": _in_thread,
    "in a child": _in_child,
    "non-blocking": _non_blocking,
    "left to a child": _left_to_child,
    "asyncio": _block,
}

_ASYNCIO = next(model for model in MODELS if model.client_kind == "asyncio")


def _attempt(stage: Stage, network: Network, family: Family, model: Model = MODELS[0]) -> Session:
    """What is to connect, and a port where nobody listens."""
    session = prepare(stage.fork_server, network, family, replace(model, server_kind=""), listening=False)
    session.client.event, session.server.event = FAILED, NOTHING
    return session


def _fail(cause: Cause, way: str, family: Family, over_veth: bool, stage: Stage) -> list[End]:
    own = cause is REFUSED
    network = stage.veth if over_veth else stage.loopback if own else stage.made_loopback
    session = _attempt(stage, network, family, _ASYNCIO if way == "asyncio" else MODELS[0])
    session.client.error, session.client.handshake_retransmits = cause.error, cause.sends_again
    with cause.obstruct(session):
        WAYS[way](session, cause.error)
    return session.close()


def _failing() -> dict[str, Scenario]:
    made: dict[str, Scenario] = {}

    def add(cause: Cause, way: str, family: Family, over_veth: bool) -> None:
        place = "veth" if over_veth or cause.only_veth else "loopback"
        made[f"{cause.name}, {way}, {family.name}, {place}"] = partial(
            _fail, cause, way, family, over_veth or cause.only_veth
        )

    for row, cause in enumerate((REFUSED, UNANSWERED, ABSENT)):
        for column, way in enumerate(WAYS):
            for each in (column, column + 1):
                add(cause, way, FAMILIES[(row + each) % len(FAMILIES)], (row + each) % 2 == 1)
    for row, cause in enumerate(OTHERS):
        for column, family in enumerate(cause.families):
            add(cause, list(WAYS)[(row + column) % len(WAYS)], family, (row + column) % 2 == 1)
    return made


GIVING_UP: dict[str, Callable[[LiveEnd], object]] = {
    "close": LiveEnd.close,
    "shutdown": lambda client: client.do("shutdown", socket.SHUT_RDWR),
    "disconnect": lambda client: client.do("disconnect"),
    "exit": lambda client: client.process.leave(),
    "kill": lambda client: client.process.kill(),
}


def _give_up(how: str, blocking: bool, stage: Stage, network: Network, family: Family) -> list[End]:
    """Nobody answers, and the connect is given up before the kernel does that."""
    session = _attempt(stage, network, family)
    client = session.client
    client.error = OTHER_ERROR
    with at_server("drop")(session):
        with Stopwatch() as client.opening:
            if blocking:
                client.process.begin("connect", "s", *session.target)
            else:
                assert client.do("connect_later", *session.target) == "EINPROGRESS"
            client.state("SYN_SENT")
        with client.ending():
            GIVING_UP[how](client)
    return session.close()


def _abort(stage: Stage, network: Network, family: Family) -> list[End]:
    """Somebody else ends it, as with `ss -K`."""
    session = _attempt(stage, network, family)
    client = session.client
    client.error = "ECONNABORTED"
    with at_server("drop")(session), _fails(client):
        client.process.begin("connect", "s", *session.target)
        client.state("SYN_SENT")
        client.namespace.destroy(client.key)
        assert client.process.finish() == "ECONNABORTED"
    return session.close()


def _no_route(stage: Stage, network: Network, family: Family) -> list[End]:
    """The kernel refuses before it begins (SYN_SENT): there is nothing to report."""
    session = _attempt(stage, network, family)
    session.client.event = NOTHING
    session.aim(_NOWHERE[family.network_type])
    assert session.client.do("connect", *session.target) == "ENETUNREACH"
    return session.close()


def _no_port(bound: bool, stage: Stage, network: Network, family: Family) -> list[End]:
    """The only port has a session with the same peer: the kernel begins, and tells its error only to the caller."""
    session = open_session(stage.fork_server, network, family)
    client, (port, _) = session.client, session.client.ports
    reuse = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.do("option", *reuse)
    failed = replace(client, event=FAILED, error=OTHER_ERROR)
    if bound:
        client.process.tell("bind", "t", family.any, [reuse], port)
    else:
        client.process.tell("make", "t", family.any, [])
        failed.ports = (0, client.ports[1])
    with client.namespace.tuned(ip_local_port_range=f"{port} {port}"), _fails(failed):
        assert client.process.tell("connect", "t", *session.target) == "EADDRNOTAVAIL"
    session.end()
    return [failed, *session.close()]


def _unheard(stage: Stage, network: Network, family: Family) -> list[End]:
    """The server's answers are lost: it has had no session, nor has the client."""
    session = prepare(stage.fork_server, network, family)
    client, server = session.client, session.server
    client.event, client.error, server.event = FAILED, "ETIMEDOUT", NOTHING
    server.unreported_syns = 3
    client.do("option", socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)
    with client.namespace.filtering(f"tcp sport {session.target[1]} drop"):
        _block(session, "ETIMEDOUT")
        return session.close()


def _retry(blocking: bool, bound: bool, stage: Stage, network: Network, family: Family) -> list[End]:
    """The same socket is refused, and then accepted."""
    session = _attempt(stage, network, family)
    client, server = session.client, session.server
    client.error = "ECONNREFUSED"
    if bound:
        session.bind()
    if blocking:
        _block(session, "ECONNREFUSED")
    else:
        with _fails(client):
            assert client.do("connect_later", *session.target) == "EINPROGRESS"
            assert client.do("connected") == "ECONNREFUSED"
        assert client.do("connect", *session.target) == "ECONNABORTED"  # the end of that, and no attempt
    failed = replace(client)
    client.event, server.event, client.error = CLOSED, CLOSED, None
    session.listen()
    with session.opens():
        session.connect_again()
    assert not bound or client.ports == failed.ports
    session.accept()
    session.talk()
    session.end()
    return [failed, *session.close()]


def _others() -> dict[str, Scenario]:
    programme = Programme()
    for how in GIVING_UP:
        programme.add(f"given up by {how}", partial(_give_up, how, False))
    programme.add("killed in a blocking connect", partial(_give_up, "kill", True))
    programme.add("no route", _no_route, len(FAMILIES))
    programme.add("port taken", partial(_no_port, True))
    programme.add("no port left", partial(_no_port, False))
    programme.add("unheard", _unheard)
    for blocking in (True, False):
        name = f"refused {'blocking' if blocking else 'non-blocking'}, tried again"
        programme.add(name, partial(_retry, blocking, False))
        programme.add(f"{name} from the same port", partial(_retry, blocking, True))
    if can_destroy():
        programme.add("aborted", _abort)
    return programme.scenarios


CONNECTS = {**_failing(), **_others()}
