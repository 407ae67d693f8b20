"""Steps that several odd openings have in common."""

from __future__ import annotations

import socket

from tests.live.matrix.ends import End
from tests.live.matrix.session import Session

SYN, SYN_ACK = "tcp flags syn / syn,ack", "tcp flags syn,ack / syn,ack"
ONCE = "numgen inc mod 1000000 == 0 drop"


def talk_and_end(session: Session) -> list[End]:
    """Have each end say something, and both closed in order."""
    session.talk()
    session.end()
    return session.close()


def receive(session: Session, size: int) -> None:
    """Have the server receive what the client has sent already."""
    client, server = session.client, session.server
    assert server.do("receive", size) == size
    client.acknowledged()
    client.sent += size
    server.received += size


def of_listener(session: Session, option: int, value: int) -> None:
    """Set an option of TCP of the listening socket."""
    session.server.process.tell("option", "l", socket.IPPROTO_TCP, option, value)


def accept_and_read(session: Session) -> None:
    """Have the server accept, and receive what the client has sent."""
    session.accept()
    assert session.server.do("receive", 500) == 500
