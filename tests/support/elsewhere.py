"""A network namespace with an address that is none of loopback, and real sessions within it."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.actor import Actor, run_actor
from tests.support.place import network_namespace
from tests.support.played_session import CLIENT, SERVER

ADDRESS, NETWORK = "10.99.7.1", "10.99.7.0/24"
PORT, CLOSED_PORT = 7000, 7001


@dataclass
class Elsewhere:
    """Two actors in a network namespace that has this address besides its loopback."""

    client: Actor
    server: Actor
    inode: int

    def sessions(self, count: int, *, sent: int = 0, address: str = ADDRESS, to: int = PORT) -> set[int]:
        """Make so many to this port, in each of which the client sends so much; return the client's ports."""
        self.server.tell("listen", "listener", address, [], to)
        ports: set[int] = set()
        for _ in range(count):
            port, error = self.client.connect("c", address, to)
            assert not error
            self.server.tell("accept", "listener", "s")
            if sent:
                self.client.tell("send", "c", sent)
                assert self.server.tell("receive", "s", sent) == sent
            self.client.tell("close", "c")
            self.server.tell("close", "s")
            ports.add(port)
        self.server.tell("close", "listener")
        assert len(ports) == count
        return ports

    def refused(self, count: int, *, to: int = CLOSED_PORT) -> set[int]:
        """Try so many connects to this port, on which nobody listens; return their ports."""
        return {self._refused(to) for _ in range(count)}

    def _refused(self, to: int) -> int:
        port, error = self.client.connect("c", ADDRESS, to)
        assert error == "ECONNREFUSED"
        return port


@contextmanager
def network_elsewhere() -> Generator[Elsewhere]:
    """The namespace, as long as the block lasts."""
    with network_namespace() as (name, inode):
        subprocess.run(["ip", "-n", name, "address", "add", f"{ADDRESS}/24", "dev", "lo"], check=True)
        there = ["ip", "netns", "exec", name]
        with run_actor(CLIENT, run=there) as client, run_actor(SERVER, run=there) as server:
            yield Elsewhere(client, server, inode)
