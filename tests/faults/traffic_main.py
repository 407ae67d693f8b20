"""Sessions on loopback, as many as standard input asks for, with a server on PORT: `sessions 10`, or `forks 10`.

Each order is answered with one line of JSON, when all of its sessions have ended. For `sessions` it has the ports of
the client, for `forks` the pids of the processes that had one session each.
"""

from __future__ import annotations

import json
import os
import socket
import sys

_AT_ONCE = 50


def _sessions(listener: socket.socket, count: int) -> list[int]:
    ports: list[int] = []
    for _ in range(count):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        ports.append(client.getsockname()[1])
        client.close()
        server.recv(1)
        server.close()
    return ports


def _forks(listener: socket.socket, count: int) -> list[int]:
    pids: list[int] = []
    while len(pids) < count:
        children = [_fork(listener) for _ in range(min(_AT_ONCE, count - len(pids)))]
        for _ in children:
            server = listener.accept()[0]
            server.recv(1)
            server.close()
        for child in children:
            os.waitpid(child, 0)
        pids += children
    return pids


def _fork(listener: socket.socket) -> int:
    child = os.fork()
    if not child:
        socket.create_connection(listener.getsockname()).close()
        os._exit(0)
    return child


def main(port: str) -> None:
    """Do as standard input says until it ends."""
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=2 * _AT_ONCE)
    print(json.dumps("listening"), flush=True)
    for line in sys.stdin:
        what, count = line.split()
        made = (_sessions if what == "sessions" else _forks)(listener, int(count))
        print(json.dumps(made), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
