"""Odd openings: both ends connecting, lost packets of the handshake, what ends before accept(2)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

from tests.live.matrix.ends import End
from tests.live.matrix.fast_open import add_fast_openings
from tests.live.matrix.opening_steps import ONCE, SYN, SYN_ACK, accept_and_read, of_listener, receive, talk_and_end
from tests.live.matrix.session import Session, in_session
from tests.live.matrix.stage import Programme
from tests.support.stopwatch import Stopwatch


def _to_connect_to_each_other(session: Session) -> None:
    """Nobody listens."""
    server = session.server
    server.role, server.owner_source = "client", "connect"
    session.unlisten()
    server.do("bind", session.family.any, [], server.ports[0])


@contextmanager
def _connects_later(session: Session) -> Generator[None]:
    """Both have begun to connect before this block, and have a session after it."""
    ends = session.client, session.server
    with session.opens():
        for end in ends:
            assert end.do("connect_later", *session.target_of(end)) == "EINPROGRESS"
        yield
        for end in ends:
            assert end.do("connected") == ""


def _connect_to_each_other(session: Session) -> list[End]:
    """The first SYNs are lost; the one that is sent again first comes to an end that has sent one itself."""
    _to_connect_to_each_other(session)
    session.network.cut()
    with _connects_later(session):
        session.network.heal()
    return talk_and_end(session)


def _connect_to_each_other_at_once(session: Session) -> list[End]:
    """The SYNs cross: both wait until the other's hardware address is known."""
    _to_connect_to_each_other(session)
    session.network.estrange()
    with _connects_later(session):
        session.network.introduce()
    return talk_and_end(session)


def _connect_to_itself(session: Session) -> list[End]:
    """A socket that connects to its own port has a session with itself: one end, which sends to itself."""
    client = session.client
    session.aim(client.addresses[0])
    client.ports = (client.ports[0], client.ports[0])
    with Stopwatch() as client.opening:
        assert client.do("connect", *session.target) == ""
    client.say(1000, client)
    client.reason = "local_close"
    with client.ending():
        client.close()
    session.close()
    return [client]


def _with_syn_cookies(session: Session) -> list[End]:
    """The server forgets the SYN, and when it came."""
    session.server.handshake = session.server.rtt = False  # its estimate begins with a guess of up to 64 ms
    with session.server.namespace.tuned(tcp_syncookies=2):
        session.open()
    return talk_and_end(session)


def _connect_and_send(session: Session) -> list[End]:
    """It is the client's first data that end the server's handshake."""
    with session.opens():
        assert session.client.do("connect", *session.target) == ""
        session.client.do("send", 500)
    session.accept()
    receive(session, 500)
    return talk_and_end(session)


def _deferred(session: Session) -> list[End]:
    of_listener(session, socket.TCP_DEFER_ACCEPT, 5)
    return _connect_and_send(session)


def _ack_lost(session: Session) -> list[End]:
    with session.server.namespace.filtering(f"tcp dport {session.target[1]} tcp flags ack / syn,ack {ONCE}"):
        return _connect_and_send(session)


def _syn_lost(session: Session) -> list[End]:
    with session.server.namespace.filtering(f"{SYN} {ONCE}"):
        session.open()
    session.client.handshake_retransmits = True
    return talk_and_end(session)


def _syn_ack_lost(session: Session) -> list[End]:
    """The kernel does not know any more when it sent the first one."""
    with session.client.namespace.filtering(f"{SYN_ACK} {ONCE}"):
        session.open()
    session.server.handshake_retransmits, session.server.handshake = True, False
    return talk_and_end(session)


def _connect_unaccepted(session: Session) -> None:
    client, server = session.client, session.server
    with session.opens():
        assert client.do("connect", *session.target) == ""
    client.do("send", 500)
    client.acknowledged()
    client.sent = server.received = 500


def _close_shared_listener(session: Session) -> None:
    """What nobody has accepted belongs to the last process that could."""
    server = session.server
    worker = server.process.fork("act-worker")
    session.unlisten()
    server.actor = server.owner = worker
    session.unlisten()


def _kill_listener(session: Session) -> None:
    session.server.process.kill()


def _listener_gone(go: Callable[[Session], None], session: Session) -> list[End]:
    """Nobody has accepted it when the listening socket is closed, and resets it."""
    client, server = session.client, session.server
    _connect_unaccepted(session)
    server.resets(client)
    with client.ending(), server.ending():
        go(session)
    client.close()
    return session.close()


def _reset_unaccepted(accepted: bool, session: Session) -> list[End]:
    """It is accepted when it is over, or never."""
    client, server = session.client, session.server
    _connect_unaccepted(session)
    client.resets(server)
    client.do("linger")
    with client.ending(), server.ending():
        client.close()
    if accepted:
        server.actor = server.owner = server.process.fork("act-worker")
        session.accept()
        server.close()
    else:
        session.unlisten()
    return session.close()


def _closed_unaccepted(session: Session) -> list[End]:
    client, server = session.client, session.server
    client.reason, server.reason = "local_close", "peer_close"
    _connect_unaccepted(session)
    with client.ending():
        client.close()
        server.state("CLOSE_WAIT")
        accept_and_read(session)
        with server.ending():
            server.close()
    return session.close()


def _openings() -> Programme:
    programme = Programme()
    add_fast_openings(programme)

    def add(name: str, play: Callable[[Session], list[End]], times: int = 2, *, only_veth: bool = False) -> None:
        programme.add(name, in_session(play), times, only_veth=only_veth)

    add("connected to each other", _connect_to_each_other)
    add("connected to each other at once", _connect_to_each_other_at_once, 3, only_veth=True)
    add("connected to itself", _connect_to_itself)
    add("SYN cookies", _with_syn_cookies)
    add("deferred accept", _deferred)
    add("SYN lost", _syn_lost)
    add("SYN-ACK lost", _syn_ack_lost)
    add("ACK lost", _ack_lost)
    add("unaccepted, listener closed", partial(_listener_gone, Session.unlisten))
    add("unaccepted, shared listener closed", partial(_listener_gone, _close_shared_listener))
    add("unaccepted, listener killed", partial(_listener_gone, _kill_listener))
    add("reset, then accepted", partial(_reset_unaccepted, True))
    add("reset, never accepted", partial(_reset_unaccepted, False))
    add("closed, then accepted", _closed_unaccepted)
    return programme


OPENINGS = _openings().scenarios
