"""A session between two processes, or more, while it is played."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.live.matrix.ends import End
from tests.live.matrix.network import IPV4, MAPPED, Family, Network
from tests.live.matrix.stage import Play
from tests.support.actor import Actor
from tests.support.forkserver import ForkServer
from tests.support.stopwatch import Stopwatch

CLIENT_UID, SERVER_UID, WORKER_UID = 1001, 65534, 65533

_ROOM = (socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
"""So that all that is sent fits into the receive queue."""


@dataclass
class LiveEnd(End):
    """An end, and the process that uses its socket, `s`."""

    actor: Actor | None = None
    shut_down: bool = False

    @property
    def process(self) -> Actor:
        """The actor, which there is."""
        assert self.actor
        return self.actor

    def do(self, action: str, *arguments: object) -> int:
        """Have something done with the socket."""
        return self.process.tell(action, "s", *arguments)

    def state(self, state: str) -> None:
        """Wait until the kernel's socket is in this state; empty for gone."""
        self.namespace.wait_state(self.key, state)

    def say(self, size: int, other: LiveEnd) -> None:
        """Send, and have the other receive it all."""
        self.do("send", size)
        assert other.do("receive", size) == size
        self.acknowledged()
        self.sent += size
        other.received += size

    def fill(self, size: int, other: LiveEnd) -> None:
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
    def ending(self) -> Generator[None]:
        """What is done in this block ends this end of the session."""
        with Stopwatch() as stopwatch:
            yield
            self.state("")
        self.closing = stopwatch

    def resets(self, other: LiveEnd, error: str = "ECONNRESET") -> None:
        """This end sends a reset, and the other ends with this error."""
        self.reason, other.reason, other.error = "local_reset", "peer_reset", error

    def hears_of_it(self) -> None:
        """Send something to where nobody is any more, and get a reset."""
        self.reason, self.error = "peer_reset", "ECONNRESET"
        with self.ending():
            self.do("send", 1)
        self.close()

    def shutdown(self, *how: int) -> None:
        """Send FIN, if that is how, and keep the descriptor."""
        self.do("shutdown", *how)
        self.shut_down = True

    def close(self) -> None:
        """Close the descriptor."""
        self.do("close")


@dataclass
class Session:
    """Both ends, and what is between them."""

    fork_server: ForkServer
    network: Network
    family: Family
    client: LiveEnd
    server: LiveEnd
    actors: list[Actor]

    def ends_from(self, side: str) -> tuple[LiveEnd, LiveEnd]:
        """The end on this side, and the other."""
        return (self.client, self.server) if side == "client" else (self.server, self.client)

    def target_of(self, end: LiveEnd) -> tuple[str, int]:
        """What this end connects to."""
        address, port = end.addresses[1], end.ports[1]
        return f"::ffff:{address}" if self.family is MAPPED else address, port

    @property
    def target(self) -> tuple[str, int]:
        """What the client connects to."""
        return self.target_of(self.client)

    def like(self) -> Session:
        """Another one in the same place, between new processes."""
        return prepare(self.fork_server, self.network, self.family)

    def aim(self, address: str) -> None:
        """Have the client connect to this address."""
        client, server = self.client, self.server
        client.addresses, server.addresses = (client.addresses[0], address), (address, client.addresses[0])

    def bind(self) -> None:
        """Have the client's socket keep the port that it was given, whatever becomes of it."""
        self.client.close()
        self.client.do("bind", self.family.any, [_ROOM], self.client.ports[0])

    def connect_again(self) -> None:
        """Have the client connect, from whatever port it has then."""
        assert self.client.do("connect", *self.target) == ""
        port, server_port = self.client.do("local_port"), self.client.ports[1]
        self.client.ports, self.server.ports = (port, server_port), (server_port, port)

    @contextmanager
    def opens(self) -> Generator[None]:
        """What is done in this block establishes the session."""
        with Stopwatch() as stopwatch:
            yield
            for end in (self.client, self.server):
                end.state("ESTABLISHED")
        self.client.opening = self.server.opening = stopwatch

    def listen(self) -> None:
        """Have the server listen where nobody did."""
        self.unlisten()
        address = self.server.addresses[0] if self.family is IPV4 else self.family.any
        self.server.process.tell("listen", "l", address, [_ROOM], self.server.ports[0])

    def unlisten(self) -> None:
        """Have the server close the socket that others connect to."""
        self.server.process.tell("close", "l")

    def open(self) -> None:
        """Establish it."""
        with self.opens():
            assert self.client.do("connect", *self.target) == ""
        self.accept()

    def accept(self) -> None:
        """Have the server accept it."""
        self.server.process.tell("accept", "l", "s")

    def talk(self) -> None:
        """Have each end say something."""
        self.client.say(1000, self.server)
        self.server.say(2000, self.client)

    def end(self, first: str = "client") -> None:
        """Have both ends closed in order, on this side first."""
        end, other = self.ends_from(first)
        end.reason, other.reason = "local_close", "peer_close"
        with end.ending():
            end.close()
            other.state("CLOSE_WAIT")
            with other.ending():
                other.close()

    def close(self) -> list[End]:
        """End all processes; return the ends."""
        for actor in self.actors:
            actor.close()
        return [self.client, self.server]


@dataclass(frozen=True)
class Model:
    """What processes there are: who keeps the socket of each end after it was opened."""

    name: str
    client_kind: str = ""
    server_kind: str = ""
    listener_uid: int = SERVER_UID
    prefork: bool = False
    keep: Callable[[Actor, Session], Actor] | None = None
    """Given the process that opened an end, the one that goes on with it."""


def _fork(opener: Actor, _: Session) -> Actor:
    """As a server that forks for each connection."""
    child = opener.fork("act-child")
    opener.tell("close", "s")
    return child


def _pass(opener: Actor, session: Session) -> Actor:
    """As a daemon that actors a connection to another."""
    namespace = session.client.namespace if opener is session.client.actor else session.server.namespace
    taker = session.fork_server.actor("act-taker", WORKER_UID, namespace=namespace.path)
    session.actors.append(taker)
    opener.give("s", taker)
    opener.tell("close", "s")
    return taker


def _thread(opener: Actor, _: Session) -> Actor:
    return opener.thread("act-thread")


MODELS = (
    Model("one process"),
    Model("prefork", listener_uid=0, prefork=True),
    Model("fork", keep=_fork),
    Model("pass", keep=_pass),
    Model("thread", keep=_thread),
    Model("asyncio", client_kind="asyncio", server_kind="asyncio"),
)


def prepare(
    fork_server: ForkServer, network: Network, family: Family, model: Model = MODELS[0], *, listening: bool = True
) -> Session:
    """New processes, one with a listening socket `l`, or a port where nobody listens, one with a bound socket `s`."""
    listener = fork_server.actor(
        "act-listener", model.listener_uid, namespace=network.server.path, kind=model.server_kind
    )
    address = network.target(family) if family is IPV4 else family.any
    server_port = listener.tell("listen" if listening else "bind", "l", address, [_ROOM])
    connector = fork_server.actor("act-client", CLIENT_UID, namespace=network.client.path, kind=model.client_kind)
    acceptor = listener.fork("act-worker", WORKER_UID) if model.prefork else listener
    client_port = connector.tell("bind", "s", family.any, [_ROOM])
    here, there = network.addresses[family.network_type]
    client = LiveEnd("client", network.client, family.network_type, (here, there), (client_port, server_port))
    server = LiveEnd("server", network.server, family.network_type, (there, here), (server_port, client_port))
    client.owner, client.owner_source, client.uid, client.actor = connector, "connect", CLIENT_UID, connector
    server.owner, server.owner_source, server.uid, server.actor = acceptor, "close", acceptor.uid, acceptor
    return Session(fork_server, network, family, client, server, [listener, connector])


def open_session(fork_server: ForkServer, network: Network, family: Family, model: Model = MODELS[0]) -> Session:
    """Establish a session between new processes."""
    session = prepare(fork_server, network, family, model)
    client, server = session.client, session.server
    session.open()
    if model.keep:
        client.actor = model.keep(client.process, session)
        server.owner = server.actor = model.keep(server.process, session)
    return session


def in_session(play: Callable[[Session], list[End]]) -> Play:
    """The same, given a place, between new processes that have no session yet."""
    return lambda stage, network, family: play(prepare(stage.fork_server, network, family))
