"""Odd openings: data in the SYN, both ends connecting, lost packets of the handshake, what ends before accept(2)."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial

from tests.live.matrix.ends import End
from tests.live.matrix.session import Session, in_session
from tests.live.matrix.stage import Programme
from tests.support.stopwatch import Stopwatch

_SYN, _SYN_ACK = "tcp flags syn / syn,ack", "tcp flags syn,ack / syn,ack"
_ONCE = "numgen inc mod 1000000 == 0 drop"

_WITH_COOKIE, _WITHOUT_COOKIE = 0x3, 0x207
"""Values of tcp_fastopen."""


def _talk_and_end(session: Session) -> list[End]:
    session.talk()
    session.end()
    return session.close()


def _receive(session: Session, size: int) -> None:
    """Have the server receive what the client has sent already."""
    client, server = session.client, session.server
    assert server.do("receive", size) == size
    client.acknowledged()
    client.sent += size
    server.received += size


def _of_listener(session: Session, option: int, value: int) -> None:
    session.server.process.tell("option", "l", socket.IPPROTO_TCP, option, value)


@contextmanager
def _fast_open(session: Session, mode: int) -> Generator[None]:
    """Both ends may open fast, and have no cookies yet."""
    with ExitStack() as stack:
        for namespace in session.network.namespaces:
            stack.enter_context(namespace.tuned(tcp_fastopen=mode))
            namespace.run("ip tcp_metrics flush all")
        _of_listener(session, socket.TCP_FASTOPEN, 5)
        yield


def _connect_with(session: Session, size: int, *, fast: bool) -> None:
    """Connect and send; it is known whether that has to come in the SYN."""
    client, server = session.client, session.server
    with session.opens():
        assert client.do("connect_with", *session.target, size) == size
    session.accept()
    _receive(session, size)
    assert [party.do("fast_opened") for party in (client, server)] == [fast, fast]


def _fast_with_cookie(fresh: bool, session: Session) -> list[End]:
    """The first session fetches the cookie for the second; where the server's key has changed, it takes no data."""
    with _fast_open(session, _WITH_COOKIE):
        _connect_with(session, 700, fast=False)
        again = session.like()
        _of_listener(again, socket.TCP_FASTOPEN, 5)
        if not fresh:
            key = "-".join(secrets.token_hex(4) for _ in range(4))
            session.server.namespace.sysctl(tcp_fastopen_key=key)
        _connect_with(again, 500, fast=fresh)
        again.client.retransmits = not fresh
        return [*_talk_and_end(session), *_talk_and_end(again)]


def _fast_without_cookie(session: Session) -> list[End]:
    with _fast_open(session, _WITHOUT_COOKIE):
        _connect_with(session, 500, fast=True)
        return _talk_and_end(session)


def _fast_lost(session: Session) -> list[End]:
    """The SYN is sent again without the data."""
    with _fast_open(session, _WITHOUT_COOKIE):
        with session.server.namespace.filtering(f"{_SYN} {_ONCE}"):
            _connect_with(session, 500, fast=False)
        session.client.retransmits = True
        return _talk_and_end(session)


@contextmanager
def _fast_half_open(session: Session, let_through: str) -> Generator[None]:
    """The server has what came in the SYN; of what the client sends after it, little gets through."""
    client, server = session.client, session.server
    only = f"tcp dport {server.ports[0]} tcp flags & ({let_through}) == 0 drop"
    server.duration = server.handshake = server.rtt = False
    with _fast_open(session, _WITHOUT_COOKIE), server.namespace.filtering(only):
        with Stopwatch() as client.opening:
            assert client.do("connect_with", *session.target, 500) == 500
        server.opening = client.opening
        server.state("SYN_RECV")
        client.acknowledged()
        client.sent = server.received = 500
        yield


def _accept_and_read(session: Session) -> None:
    session.accept()
    assert session.server.do("receive", 500) == 500


def _fast_closed(session: Session) -> list[End]:
    """The server closes before the handshake is over."""
    client, server = session.client, session.server
    client.reason, server.reason = "peer_close", "local_close"
    with server.ends():
        with _fast_half_open(session, "syn"):
            _accept_and_read(session)
            server.close()
            client.state("CLOSE_WAIT")
        with client.ends():
            client.close()
    return session.close()


def _fast_reset(session: Session) -> list[End]:
    """The client resets before the handshake is over."""
    client, server = session.client, session.server
    client.resets(server)
    client.do("linger")
    with _fast_half_open(session, "syn|rst"):
        _accept_and_read(session)
        with client.ends(), server.ends():
            client.close()
    server.close()
    return session.close()


def _fast_refused(session: Session) -> list[End]:
    """The server closes the listening socket before the handshake is over."""
    client, server = session.client, session.server
    server.resets(client)
    with _fast_half_open(session, "syn"), client.ends(), server.ends():
        session.unlisten()
    client.close()
    return session.close()


def _to_connect_to_each_other(session: Session) -> None:
    """Nobody listens."""
    server = session.server
    server.role, server.owner_source = "client", "connect"
    session.unlisten()
    server.do("bind", session.family.any, [], server.ports[0])


@contextmanager
def _connects_later(session: Session) -> Generator[None]:
    """Both have begun to connect before this block, and have a session after it."""
    parties = session.client, session.server
    with session.opens():
        for party in parties:
            assert party.do("connect_later", *session.target_of(party)) == "EINPROGRESS"
        yield
        for party in parties:
            assert party.do("connected") == ""


def _connect_to_each_other(session: Session) -> list[End]:
    """The first SYNs are lost; the one that is sent again first comes to an end that has sent one itself."""
    _to_connect_to_each_other(session)
    session.network.cut()
    with _connects_later(session):
        session.network.heal()
    return _talk_and_end(session)


def _connect_to_each_other_at_once(session: Session) -> list[End]:
    """The SYNs cross: both wait until the other's hardware address is known."""
    _to_connect_to_each_other(session)
    session.network.estrange()
    with _connects_later(session):
        session.network.introduce()
    return _talk_and_end(session)


def _connect_to_itself(session: Session) -> list[End]:
    """A socket that connects to its own port has a session with itself: one end, which sends to itself."""
    client = session.client
    session.aim(client.addresses[0])
    client.ports = (client.ports[0], client.ports[0])
    with Stopwatch() as client.opening:
        assert client.do("connect", *session.target) == ""
    client.say(1000, client)
    client.reason = "local_close"
    with client.ends():
        client.close()
    session.close()
    return [client]


def _with_syn_cookies(session: Session) -> list[End]:
    """The server forgets the SYN, and when it came."""
    session.server.handshake = session.server.rtt = False  # its estimate begins with a guess of up to 64 ms
    with session.server.namespace.tuned(tcp_syncookies=2):
        session.open()
    return _talk_and_end(session)


def _connect_and_send(session: Session) -> list[End]:
    """It is the client's first data that end the server's handshake."""
    with session.opens():
        assert session.client.do("connect", *session.target) == ""
        session.client.do("send", 500)
    session.accept()
    _receive(session, 500)
    return _talk_and_end(session)


def _deferred(session: Session) -> list[End]:
    _of_listener(session, socket.TCP_DEFER_ACCEPT, 5)
    return _connect_and_send(session)


def _ack_lost(session: Session) -> list[End]:
    with session.server.namespace.filtering(f"tcp dport {session.target[1]} tcp flags ack / syn,ack {_ONCE}"):
        return _connect_and_send(session)


def _syn_lost(session: Session) -> list[End]:
    with session.server.namespace.filtering(f"{_SYN} {_ONCE}"):
        session.open()
    session.client.retransmits = True
    return _talk_and_end(session)


def _syn_ack_lost(session: Session) -> list[End]:
    """The kernel does not know any more when it sent the first one."""
    with session.client.namespace.filtering(f"{_SYN_ACK} {_ONCE}"):
        session.open()
    session.server.retransmits, session.server.handshake = True, False
    return _talk_and_end(session)


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
    with client.ends(), server.ends():
        go(session)
    client.close()
    return session.close()


def _reset_unaccepted(accepted: bool, session: Session) -> list[End]:
    """It is accepted when it is over, or never."""
    client, server = session.client, session.server
    _connect_unaccepted(session)
    client.resets(server)
    client.do("linger")
    with client.ends(), server.ends():
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
    with client.ends():
        client.close()
        server.state("CLOSE_WAIT")
        _accept_and_read(session)
        with server.ends():
            server.close()
    return session.close()


def _openings() -> Programme:
    programme = Programme()

    def add(name: str, play: Callable[[Session], list[End]], times: int = 2, *, only_veth: bool = False) -> None:
        programme.add(name, in_session(play), times, only_veth=only_veth)

    add("fast open with a cookie", partial(_fast_with_cookie, True))
    add("fast open with an old cookie", partial(_fast_with_cookie, False))
    add("fast open without a cookie", _fast_without_cookie)
    add("fast open, lost", _fast_lost)
    add("fast open, closed at once", _fast_closed)
    add("fast open, reset at once", _fast_reset)
    add("fast open, listener closed at once", _fast_refused)
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
