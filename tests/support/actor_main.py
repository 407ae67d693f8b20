"""The program of an actor: a line of JSON in, an action with its arguments; a line of JSON out, what came of it."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

_PR_SET_NAME = 15
_PIECE = 4 << 20

_sockets: dict[str, socket.socket] = {}
_children: list[tuple[int, int]] = []


def ready() -> None:
    """Nothing but an answer."""


def listen(name: str, host: str, dual: bool = False, backlog: int = 128) -> int:
    """Listen on an ephemeral port, on IPv4 and IPv6 if dual; return the port."""
    family = socket.AF_INET6 if ":" in host or dual else socket.AF_INET
    _sockets[name] = socket.create_server((host, 0), family=family, dualstack_ipv6=dual, backlog=backlog)
    return int(_sockets[name].getsockname()[1])


def connect(name: str, host: str, port: int) -> tuple[int, str]:
    """Connect; return the local port, and the name of the errno if that failed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    _sockets[name] = socket.socket(family)
    # Bound first, so that the port is known also of a connect that fails
    _sockets[name].bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))
    result = _sockets[name].connect_ex((host, port))
    return int(_sockets[name].getsockname()[1]), errno.errorcode[result] if result else ""


def begin_connect(name: str, host: str, port: int) -> int:
    """Send a SYN, and wait for nothing; return the local port."""
    _sockets[name] = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    _sockets[name].setblocking(False)
    _sockets[name].connect_ex((host, port))
    return int(_sockets[name].getsockname()[1])


def accept(listener: str, name: str) -> None:
    """Accept one connection."""
    _sockets[name] = _sockets[listener].accept()[0]


def send(name: str, size: int) -> None:
    """Send so many bytes."""
    _sockets[name].sendall(bytes(size))


def receive(name: str, size: int) -> int:
    """Receive so many bytes, or what there is before the end; return how many."""
    received = 0
    while received < size and (chunk := _sockets[name].recv(min(size - received, 1 << 20))):
        received += len(chunk)
    return received


def pour(name: str, size: int) -> None:
    """Send so many bytes, however many, without a copy."""
    zeros = os.memfd_create("zeros")
    os.ftruncate(zeros, _PIECE)
    while size:
        size -= os.sendfile(_sockets[name].fileno(), zeros, 0, min(size, _PIECE))
    os.close(zeros)


def discard(name: str, size: int) -> int:
    """As receive, but have the kernel drop them (tcp(7))."""
    nowhere = bytearray(_PIECE)
    received = 0
    while received < size and (
        count := _sockets[name].recv_into(nowhere, min(size - received, _PIECE), socket.MSG_TRUNC)
    ):
        received += count
    return received


def sent_again(name: str) -> int:
    """How many segments the socket has sent again so far (tcpi_total_retrans of struct tcp_info)."""
    return int(struct.unpack_from("I", _sockets[name].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0])


def shutdown(name: str) -> None:
    """Send FIN, and keep the descriptor."""
    _sockets[name].shutdown(socket.SHUT_WR)


def close(name: str) -> None:
    """Close the descriptor."""
    _sockets.pop(name).close()


def reset(name: str) -> None:
    """Close the descriptor by RST."""
    _sockets[name].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    close(name)


def fork() -> int:
    """Have a child with the same descriptors; return its pid."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    _children.append((child, write))
    return child


def end_child() -> None:
    """Have the last child exit."""
    child, pipe = _children.pop()
    os.close(pipe)
    os.waitpid(child, 0)


_ACTIONS: list[Callable[..., Any]] = [
    *(ready, listen, connect, begin_connect, accept, send, receive, sent_again, shutdown),
    *(close, reset, pour, discard, fork, end_child),
]


def main() -> None:
    """Take the name and the user that the arguments give, then do as told until the end of the input."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, sys.argv[1].encode(), 0, 0, 0)
    os.setuid(int(sys.argv[2]))
    actions = {action.__name__: action for action in _ACTIONS}
    for line in sys.stdin:
        action, *arguments = json.loads(line)
        try:
            answer = {"done": actions[action](*arguments)}
        except OSError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
