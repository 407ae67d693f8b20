"""Many short sessions on loopback, bounded in number."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from tests.support.received import ReceivedLog


class Traffic:
    """Sessions of this process with itself, each of which both ends close in order."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=64)
        self.port: int = self._listener.getsockname()[1]

    def open(self) -> tuple[socket.socket, socket.socket]:
        """One session: the client's socket and the server's."""
        client = self.connect()
        return client, self.accept()

    def connect(self) -> socket.socket:
        """The client's socket of a session that the server has yet to accept."""
        return socket.create_connection(self._listener.getsockname()[:2])

    def accept(self) -> socket.socket:
        """The server's socket of a session that another process has opened."""
        return self._listener.accept()[0]

    def sessions(self, count: int) -> int:
        """Open and close so many sessions, one after the other; return how many session ends that makes."""
        for _ in range(count):
            for end in self.open():
                end.close()
        return 2 * count

    def of(self, logs: Iterable[ReceivedLog]) -> list[ReceivedLog]:
        """Those of its sessions: nobody else in this network namespace has its port while it listens."""
        return [log for log in logs if self.port in log.ports and not log.is_elsewhere]

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()
