"""Many sessions between two actors, each known by its number."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from otel_tcplife.session import SessionBatch
from tests.support.actor import Actor
from tests.support.patience import PATIENCE
from tests.support.proc_net import IN_SESSION, sockets
from tests.support.sock_diag import settle

ADDRESS = "127.0.0.1"


class Pairs:
    """The client's socket of a session is `c` and its number, the server's `s` and its number."""

    def __init__(self, client: Actor, server: Actor, backlog: int = 128) -> None:
        self.client = client
        self.server = server
        self.port: int = server.tell("listen", "listener", ADDRESS, [], 0, backlog)
        self.client_ports: list[int] = []
        """By number."""

    def connect(self) -> int:
        """Open a session that the server has yet to accept; return its number."""
        number = len(self.client_ports)
        port, error = self.client.connect(f"c{number}", ADDRESS, self.port)
        assert not error
        self.client_ports.append(port)
        return number

    def open(self, count: int) -> list[int]:
        """Open so many, one after the other; return their numbers."""
        numbers: list[int] = []
        for _ in range(count):
            numbers.append(self.connect())
            self.server.tell("accept", "listener", f"s{numbers[-1]}")
        return numbers

    def close(self, number: int) -> None:
        """Both ends close, the client first."""
        self.client.tell("close", f"c{number}")
        self.server.tell("close", f"s{number}")

    def leak(self, number: int) -> None:
        """The client resets it, and the server, which knows that, keeps its descriptor."""
        self.client.reset(f"c{number}")
        with pytest.raises(RuntimeError, match="ECONNRESET"):
            self.server.tell("receive", f"s{number}", 1)

    def wait_until_open(self, ends: int) -> None:
        """Wait until so many ends of sessions are open in the network namespace of the actors."""
        deadline = time.monotonic() + PATIENCE
        while (count := sum(each.state in IN_SESSION for each in sockets(Path(f"/proc/{self.server.pid}")))) != ends:
            assert time.monotonic() < deadline, f"{count} ends are open"
            time.sleep(0.001)
        settle()


def of_namespace(batch: SessionBatch, netns: int) -> SessionBatch:
    """The sessions of the namespace with this inode."""
    return batch[batch["netns"] == netns]
