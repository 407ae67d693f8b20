"""TCP fast open: data in the SYN, with a cookie and without, that gets through or not (RFC 7413)."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial

from tests.live.matrix.ends import End
from tests.live.matrix.opening_steps import ONCE, SYN, accept_and_read, of_listener, receive, talk_and_end
from tests.live.matrix.session import Session, in_session
from tests.live.matrix.stage import Programme
from tests.support.stopwatch import Stopwatch

_WITH_COOKIE, _WITHOUT_COOKIE = 0x3, 0x207
"""Values of tcp_fastopen."""


@contextmanager
def _fast_open(session: Session, mode: int) -> Generator[None]:
    """Both ends may open fast, and have no cookies yet."""
    with ExitStack() as stack:
        for namespace in session.network.namespaces:
            stack.enter_context(namespace.tuned(tcp_fastopen=mode))
            namespace.run("ip tcp_metrics flush all")
        of_listener(session, socket.TCP_FASTOPEN, 5)
        yield


def _connect_with(session: Session, size: int, *, fast: bool) -> None:
    """Connect and send; it is known whether that has to come in the SYN."""
    client, server = session.client, session.server
    with session.opens():
        assert client.do("connect_with", *session.target, size) == size
    session.accept()
    receive(session, size)
    assert [end.do("fast_opened") for end in (client, server)] == [fast, fast]


def _fast_with_cookie(fresh: bool, session: Session) -> list[End]:
    """The first session fetches the cookie for the second; where the server's key has changed, it takes no data."""
    with _fast_open(session, _WITH_COOKIE):
        _connect_with(session, 700, fast=False)
        again = session.like()
        of_listener(again, socket.TCP_FASTOPEN, 5)
        if not fresh:
            key = "-".join(secrets.token_hex(4) for _ in range(4))
            session.server.namespace.sysctl(tcp_fastopen_key=key)
        _connect_with(again, 500, fast=fresh)
        again.client.retransmits = not fresh
        return [*talk_and_end(session), *talk_and_end(again)]


def _fast_without_cookie(session: Session) -> list[End]:
    with _fast_open(session, _WITHOUT_COOKIE):
        _connect_with(session, 500, fast=True)
        return talk_and_end(session)


def _fast_lost(session: Session) -> list[End]:
    """The SYN is sent again without the data."""
    with _fast_open(session, _WITHOUT_COOKIE):
        with session.server.namespace.filtering(f"{SYN} {ONCE}"):
            _connect_with(session, 500, fast=False)
        session.client.handshake_retransmits = True
        return talk_and_end(session)


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


def _fast_closed(session: Session) -> list[End]:
    """The server closes before the handshake is over."""
    client, server = session.client, session.server
    client.reason, server.reason = "peer_close", "local_close"
    with server.ending():
        with _fast_half_open(session, "syn"):
            accept_and_read(session)
            server.close()
            client.state("CLOSE_WAIT")
        with client.ending():
            client.close()
    return session.close()


def _fast_reset(session: Session) -> list[End]:
    """The client resets before the handshake is over."""
    client, server = session.client, session.server
    client.resets(server)
    client.do("linger")
    with _fast_half_open(session, "syn|rst"):
        accept_and_read(session)
        with client.ending(), server.ending():
            client.close()
    server.close()
    return session.close()


def _fast_refused(session: Session) -> list[End]:
    """The server closes the listening socket before the handshake is over."""
    client, server = session.client, session.server
    server.resets(client)
    with _fast_half_open(session, "syn"), client.ending(), server.ending():
        session.unlisten()
    client.close()
    return session.close()


def add_fast_openings(programme: Programme) -> None:
    """Their scenarios."""

    def add(name: str, play: Callable[[Session], list[End]]) -> None:
        programme.add(name, in_session(play))

    add("fast open with a cookie", partial(_fast_with_cookie, True))
    add("fast open with an old cookie", partial(_fast_with_cookie, False))
    add("fast open without a cookie", _fast_without_cookie)
    add("fast open, lost", _fast_lost)
    add("fast open, closed at once", _fast_closed)
    add("fast open, reset at once", _fast_reset)
    add("fast open, listener closed at once", _fast_refused)
