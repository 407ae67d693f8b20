"""What the applications do step by step, and tell."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable

from tests.support.bpf_objects import held_by

HOST = "127.0.0.1"


def tell(**facts: object) -> None:
    """Write a line, so short that those of several processes do not mix."""
    os.write(1, (json.dumps({"pid": os.getpid(), **facts}) + "\n").encode())


def wait() -> None:
    """Wait until a process of those that wait is to go on, and it is this one; or all are to end."""
    os.read(0, 1)


def make_session(size: int = 1000) -> None:
    """Have a session of this process with itself, and tell of both ends and of the BPF objects that it holds."""
    end_session(*open_session(), size)
    tell(bpf=sorted(held_by(os.getpid())))


def open_session() -> tuple[socket.socket, socket.socket]:
    """The client's socket and the server's."""
    with socket.create_server((HOST, 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


def end_session(client: socket.socket, server: socket.socket, size: int = 1000) -> None:
    """Exchange so many bytes, close both, and tell of it."""
    ports = client.getsockname()[1], server.getsockname()[1]
    client.sendall(bytes(size))
    server.recv(size, socket.MSG_WAITALL)
    server.sendall(bytes(2 * size))
    client.recv(2 * size, socket.MSG_WAITALL)
    client.close()
    server.recv(1)
    server.close()
    tell(end=["client", *ports, size, 2 * size])
    tell(end=["server", *reversed(ports), 2 * size, size])


def fork(run: Callable[[], object]) -> int:
    """Have a child that runs this, and ends as multiprocessing's do; return its pid."""
    child = os.fork()
    if child:
        return child
    run()
    os._exit(0)
