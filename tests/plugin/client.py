"""The client of HTTP servers that answer which process it is that answers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tests.plugin.traced import SessionEnd, wait_until
from tests.support.patience import PATIENCE

_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Client:
    """Makes requests, each in a session of its own, and remembers the server's end of each."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.made: list[SessionEnd] = []

    def request(self, _: object = None) -> int:
        """Make a request, as soon as the server listens; return the process that answers."""
        with self._connect() as client:
            port = client.getsockname()[1]
            client.sendall(_REQUEST)
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        worker = int(answer.split()[-1])
        self.made.append(SessionEnd(worker, "server", self._port, port, len(answer), len(_REQUEST)))
        return worker

    def _connect(self) -> socket.socket:
        connected: list[socket.socket] = []

        def try_to() -> bool:
            with suppress(ConnectionRefusedError):
                connected.append(socket.create_connection(("127.0.0.1", self._port), PATIENCE))
            return bool(connected)

        wait_until(try_to, lambda: f"nobody listens on port {self._port}")
        return connected[0]

    def request_until(self, reached: Callable[[set[int]], bool]) -> set[int]:
        """Make requests, some at the same time, until it is reached with the processes that have answered."""
        answered: set[int] = set()

        def more() -> bool:
            with ThreadPoolExecutor(4) as threads:
                answered.update(threads.map(self.request, range(8)))
            return reached(answered)

        wait_until(more, lambda: f"only {answered} answered")
        return answered
