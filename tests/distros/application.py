"""A web application with clients of its own, of the standard library only: what an agent is put upon.

    application.py [PORT]

serves on this loopback port, or on any, makes its requests, tries a port on which nobody listens, and prints as one
line of JSON its process id, these ports, and its sessions: the client's port, and the bytes that the client sent and
received. Then it goes on until its standard input ends and the kernel has closed all of its sessions: on a busy machine
a FIN may have to be sent again.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_SESSIONS = 6
_LOOPBACK = "127.0.0.1"
_CLOSED = ("06", "0A")
"""TIME_WAIT and LISTEN, which is another's by then."""


class Server(ThreadingHTTPServer):
    """Waits at its end until all sessions have theirs."""

    daemon_threads = False


class Handler(BaseHTTPRequestHandler):
    """Answers with as many bytes as the path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The only method there is."""
        content = b"x" * int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class CountingSocket(socket.socket):
    """Counts what its user sends and receives."""

    sent = received = 0

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Count, too."""
        super().sendall(data, flags)
        self.sent += len(data)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Count, too."""
        received = super().recv_into(buffer, nbytes, flags)
        self.received += received
        return received


def make_session(port: int, number: int) -> dict[str, int]:
    """A session of a few requests; every other one is closed by the server, the rest by the client."""
    with CountingSocket() as client:
        client.connect((_LOOPBACK, port))
        connection = HTTPConnection(_LOOPBACK, port)
        connection.sock = client
        for last in [False] * number + [True]:
            connection.request(
                "GET", f"/{1000 * number}", headers={"Connection": "close"} if last and number % 2 else {}
            )
            connection.getresponse().read()
        return {"port": client.getsockname()[1], "sent": client.sent, "received": client.received}


def fail_to_connect() -> int:
    """Connect to a port that is bound, so that it is nobody else's, but not listened on; return it."""
    with socket.socket() as nobody, socket.socket() as client:
        nobody.bind((_LOOPBACK, 0))
        client.connect_ex(nobody.getsockname())
        return nobody.getsockname()[1]


def wait_until_closed(port: int) -> None:
    """Wait until no session with this port is in a state before TIME_WAIT; see proc_net_tcp.rst of the kernel."""
    while any(f":{port:04X}" in addresses and state not in _CLOSED for addresses, state in _sockets()):
        time.sleep(0.01)


def _sockets() -> Iterator[tuple[str, str]]:
    """The addresses of each socket, both in one string, and its state."""
    with open("/proc/net/tcp") as table:
        for line in list(table)[1:]:
            _, local, remote, state, *_ = line.split()
            yield f"{local} {remote}", state


def main() -> None:
    """Do all of the above."""
    with Server((_LOOPBACK, int(next(iter(sys.argv[1:]), 0))), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        sessions = [make_session(server.server_port, number) for number in range(_SESSIONS)]
        told = {"pid": os.getpid(), "port": server.server_port, "sessions": sessions, "refused": fail_to_connect()}
        print(json.dumps(told), flush=True)
        sys.stdin.read()
        server.shutdown()
        thread.join()
    wait_until_closed(server.server_port)


if __name__ == "__main__":
    main()
