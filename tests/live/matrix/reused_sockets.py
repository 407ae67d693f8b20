"""Sockets that have a second session after the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tests.live.matrix.ends import End
from tests.live.matrix.session import LiveEnd, Session, in_session
from tests.live.matrix.stage import Programme


def _disconnect_client(bound: bool, session: Session) -> list[End]:
    """connect(2) to AF_UNSPEC: the same socket has two sessions, and no error in the second."""
    client, server = session.client, session.server
    if bound:
        session.bind()
    session.open()
    session.talk()
    client.resets(server)
    with client.ending(), server.ending():
        client.do("disconnect")
    server.close()
    first = _leave_behind(client, server)
    with session.opens():
        session.connect_again()
    session.accept()
    server.say(3000, client)
    session.end()
    return [*first, *session.close()]


def _leave_behind(*live: LiveEnd) -> list[End]:
    """The ends of a session that is over; they are to have another."""
    ends: list[End] = [replace(end) for end in live]
    for end in live:
        end.sent, end.received, end.error = 0, 0, None
    return ends


def _disconnect_server(session: Session) -> list[End]:
    """A socket that was accepted connects to the process that had connected."""
    client, server = session.client, session.server
    session.open()
    session.talk()
    server.resets(client)
    with client.ending(), server.ending():
        server.do("disconnect")
    client.close()
    first = _leave_behind(client, server)
    client.role, client.owner_source, server.role, server.owner_source = "server", "close", "client", "connect"
    server.ports = (0, client.process.tell("listen", "l", session.family.any, []))
    back = replace(session, client=server, server=client)
    with back.opens():
        back.connect_again()
    back.accept()
    back.talk()
    back.end()
    return [*first, *back.close()]


def add_reused_sockets(programme: Programme) -> None:
    """Their scenarios."""

    def add(name: str, play: Callable[[Session], list[End]]) -> None:
        programme.add(name, in_session(play))

    add("client disconnected, connected again", partial(_disconnect_client, False))
    add("client disconnected, connected again from the same port", partial(_disconnect_client, True))
    add("server disconnected, connected back", _disconnect_server)
