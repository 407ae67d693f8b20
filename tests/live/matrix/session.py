"""A session between two processes, or more, while it is played."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.live.actor import Stopwatch
from tests.live.matrix.ends import End
from tests.live.matrix.hands import Hand, Zygote
from tests.live.matrix.network import IPV4, Family, Namespace, Network

CLIENT_UID, SERVER_UID, WORKER_UID = 1001, 65534, 65533

_ROOM = (socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
"""So that all that is sent fits into the receive queue."""


@dataclass
class Party(End):
    """An end, and the process that uses its socket, `s`."""

    hand: Hand | None = None
    shut_down: bool = False

    def do(self, action: str, *arguments: object) -> int:
        """Have something done with the socket."""
        assert self.hand
        return self.hand.tell(action, "s", *arguments)

    def state(self, state: str) -> None:
        """Wait until the kernel's socket is in this state; empty for gone."""
        self.namespace.wait_state(self.key, state)

    def say(self, size: int, other: Party) -> None:
        """Send, and have the other receive it all."""
        self.do("send", size)
        assert other.do("receive", size) == size
        self.acknowledged()
        self.sent += size
        other.received += size

    def fill(self, size: int, other: Party) -> None:
        """Send, and let it lie in the other's receive queue."""
        other.do("pause")
        self.do("send", size)
        self.acknowledged()
        while other.do("unread") < size:
            pass
        self.sent += size
        other.received += size

    def acknowledged(self) -> None:
        """Wait until the peer has acknowledged all that was sent."""
        while self.do("unacknowledged"):
            pass

    @contextmanager
    def ends(self) -> Generator[None]:
        """What is done in this block ends this end of the session."""
        with Stopwatch() as stopwatch:
            yield
            self.state("")
        self.closing = stopwatch

    def shutdown(self) -> None:
        """Send FIN, and keep the descriptor."""
        self.do("shutdown")
        self.shut_down = True

    def close(self) -> None:
        """Close the descriptor."""
        self.do("close")


@dataclass
class Session:
    """Both ends, and what is between them."""

    zygote: Zygote
    network: Network
    client: Party
    server: Party
    hands: list[Hand]

    def parties(self, side: str) -> tuple[Party, Party]:
        """The party on this side, and the other."""
        return (self.client, self.server) if side == "client" else (self.server, self.client)

    def close(self) -> None:
        """End all processes."""
        for hand in self.hands:
            hand.close()


@dataclass(frozen=True)
class Model:
    """What processes there are: who keeps the socket of each end after it was opened."""

    name: str
    client_kind: str = ""
    server_kind: str = ""
    listener_uid: int = SERVER_UID
    prefork: bool = False
    keep: Callable[[Hand, Session], Hand] | None = None
    """Given the process that opened an end, the one that goes on with it."""


def _fork(opener: Hand, _: Session) -> Hand:
    """As a server that forks for each connection."""
    child = opener.fork("act-child")
    opener.tell("close", "s")
    return child


def _pass(opener: Hand, session: Session) -> Hand:
    """As a daemon that hands a connection to another."""
    namespace = session.client.namespace if opener is session.client.hand else session.server.namespace
    taker = session.zygote.hand("act-taker", WORKER_UID, namespace=namespace.path)
    session.hands.append(taker)
    opener.give("s", taker)
    opener.tell("close", "s")
    return taker


def _thread(opener: Hand, _: Session) -> Hand:
    return opener.thread("act-thread")


MODELS = (
    Model("one process"),
    Model("prefork", listener_uid=0, prefork=True),
    Model("fork", keep=_fork),
    Model("pass", keep=_pass),
    Model("thread", keep=_thread),
    Model("asyncio", client_kind="asyncio", server_kind="asyncio"),
)


def open_session(zygote: Zygote, network: Network, family: Family, model: Model) -> Session:
    """Establish a session between new processes."""
    listener = zygote.hand("act-listener", model.listener_uid, namespace=network.server.path, kind=model.server_kind)
    address = network.target(family) if family is IPV4 else family.any
    server_port = listener.tell("listen", "l", address, [_ROOM])
    connector = zygote.hand("act-client", CLIENT_UID, namespace=network.client.path, kind=model.client_kind)
    acceptor = listener.fork("act-worker", WORKER_UID) if model.prefork else listener
    client_port = connector.tell("bind", "s", family.any, [_ROOM])
    here, there = network.addresses[family.network_type]
    with Stopwatch() as opening:
        assert connector.tell("connect", "s", network.target(family), server_port) == ""
        network.server.wait_state((there, server_port, here, client_port), "ESTABLISHED")
    acceptor.tell("accept", "l", "s")
    client = _party("client", network.client, family, (here, there), (client_port, server_port), opening)
    server = _party("server", network.server, family, (there, here), (server_port, client_port), opening)
    session = Session(zygote, network, client, server, [listener, connector])
    client.owner, client.owner_source, client.uid, client.hand = connector, "connect", CLIENT_UID, connector
    server.owner, server.owner_source, server.uid, server.hand = acceptor, "close", acceptor.uid, acceptor
    if model.keep:
        client.hand = model.keep(connector, session)
        server.owner = server.hand = model.keep(acceptor, session)
    return session


def _party(
    role: str,
    namespace: Namespace,
    family: Family,
    addresses: tuple[str, str],
    ports: tuple[int, int],
    opening: Stopwatch,
) -> Party:
    return Party(role, namespace, family.network_type, addresses, ports, opening=opening)
