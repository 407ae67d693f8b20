"""A session between two actors, step by step, of which everything is known."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.actor import Actor
from tests.support.proc_net import tcp_counters
from tests.support.sock_diag import Diag, settle
from tests.support.stopwatch import Stopwatch

CLIENT, SERVER = "act-client", "act-server"


@dataclass(frozen=True)
class Family:
    """How the two ends address each other."""

    name: str
    listen: str
    connect: str
    network_type: str
    address: str


FAMILIES = (
    Family("IPv4", "127.0.0.1", "127.0.0.1", "ipv4", "127.0.0.1"),
    Family("IPv6", "::1", "::1", "ipv6", "::1"),
    Family("mapped", "::", "127.0.0.1", "ipv4", "127.0.0.1"),
)


@dataclass
class Session:
    """A session between two actors, while it is played."""

    family: Family
    client: Actor
    server: Actor
    client_port: int = 0
    server_port: int = 0
    sent_by_client: int = 0
    sent_by_server: int = 0
    connecting: Stopwatch = field(default_factory=Stopwatch)
    closing: list[Stopwatch] = field(default_factory=list[Stopwatch])
    sent_again: dict[str, int] = field(default_factory=dict[str, int])
    """Segments that the client and the server had sent again right before the first step that ends an end."""
    sent_again_by_all: int = 0
    """And all sockets of the network namespace before that."""
    going: Stopwatch = field(default_factory=Stopwatch)
    """The wait until neither end had a socket any more."""

    def open(self) -> None:
        """Establish it."""
        self.server_port = self.server.tell("listen", "listener", self.family.listen)
        with self.connecting:
            self.client_port, error = self.client.connect("c", self.family.connect, self.server_port)
        assert not error
        self.server.tell("accept", "listener", "s")

    def exchange(self, by_client: int, by_server: int) -> None:
        """Send and receive in both directions, in pieces that fit into the buffers."""
        for sender, receiver, names, size in (
            (self.client, self.server, ("c", "s"), by_client),
            (self.server, self.client, ("s", "c"), by_server),
        ):
            left = size
            while left:
                piece = min(left, 65536)
                sender.tell("send", names[0], piece)
                assert receiver.tell("receive", names[1], piece) == piece
                left -= piece
        self.sent_by_client += by_client
        self.sent_by_server += by_server

    @contextmanager
    def ending(self) -> Generator[None]:
        """Times a step that ends one end or both."""
        if not self.closing:
            self.sent_again_by_all = sent_again_by_all()
            self.sent_again = {
                "client": self.client.tell("sent_again", "c"),
                "server": self.server.tell("sent_again", "s"),
            }
        with Stopwatch() as stopwatch:
            yield
        self.closing.append(stopwatch)

    def wait_until_gone(self) -> None:
        """Wait until neither end has a socket any more."""
        diag, address = Diag(Path("/proc/self/ns/net")), self.family.address
        with self.going:
            for own, peer in ((self.client_port, self.server_port), (self.server_port, self.client_port)):
                while diag.state((address, own, address, peer)):
                    time.sleep(0.001)
            settle()


def sent_again_by_all() -> int:
    """Segments that all sockets of this network namespace have sent again so far."""
    return tcp_counters(Path("/proc/self"))["RetransSegs"]
