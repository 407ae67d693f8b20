"""The program of an actor with blocking sockets: each message an action with its arguments, answered when it is done.

    actor_main.py NAME UID

takes its orders from standard input. It is run on its own, too, so that it imports nothing of the tests.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import select
import socket
import struct
import sys
import termios
import threading
from collections.abc import Callable
from typing import Any

_PR_SET_NAME, _PIECE = 15, 4 << 20
_TCPI_OPT_SYN_DATA = 32
_SIOCOUTQ = termios.TIOCOUTQ

_libc = ctypes.CDLL(None, use_errno=True)
_sockets: dict[str, socket.socket] = {}
_controls: list[socket.socket] = []

Order = tuple[list[Any], list[int]]
Option = tuple[int, int, int]


def name_thread(comm: str) -> None:
    """Name this thread; the first thread's name is its process's."""
    _libc.prctl(_PR_SET_NAME, comm.encode(), 0, 0, 0)


def libc(function: str, *arguments: Any) -> int:
    """Call a function of the C library."""
    if (result := int(getattr(_libc, function)(*arguments))) < 0:
        raise OSError(ctypes.get_errno(), function)
    return result


def error_name(number: int | None) -> str:
    """The name of an errno, or nothing."""
    return errno.errorcode[number] if number else ""


def receive_order(control: socket.socket) -> Order | None:
    """The next message and the descriptors that came with it; None when there will be no more."""
    message, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 4)
    return (json.loads(message), descriptors) if message else None


def unread(name: str) -> int:
    """How many bytes lie in the receive queue."""
    return _queued(_sockets[name], termios.FIONREAD)


def unacknowledged(name: str) -> int:
    """How many bytes lie in the send queue, sent or not."""
    return _queued(_sockets[name], _SIOCOUTQ)


def listen(name: str, host: str, options: list[Option] = [], port: int = 0, backlog: int = 128) -> int:  # noqa: B006
    """Listen, on IPv4 too if the host is `::`; return the port."""
    sock = _make(name, host, options)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
    sock.bind((host, port))
    sock.listen(backlog)
    return local_port(name)


def bind(name: str, host: str, options: list[Option], port: int = 0) -> int:
    """Make a socket that is bound, but not connected yet, so that its port is known; return that."""
    sock = _make(name, host, options)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, False)
    sock.bind(("::" if sock.family == socket.AF_INET6 else "0.0.0.0", port))
    return local_port(name)


def make(name: str, host: str, options: list[Option]) -> None:
    """Make a socket that is neither bound nor connected."""
    _make(name, host, options)


def local_port(name: str) -> int:
    """The port that the socket has now."""
    return int(_sockets[name].getsockname()[1])


def connect(name: str, host: str, port: int) -> str:
    """Connect a socket that was made; return the name of the errno, or nothing."""
    return error_name(_sockets[name].connect_ex((host, port)))


def connect_later(name: str, host: str, port: int) -> str:
    """Begin to connect without waiting for the outcome; return the name of the errno."""
    _sockets[name].setblocking(False)
    return connect(name, host, port)


def connected(name: str) -> str:
    """Wait for the outcome of a connect; return the name of the errno, or nothing."""
    poll = select.poll()
    poll.register(_sockets[name], select.POLLOUT)
    poll.poll()
    _sockets[name].setblocking(True)
    return error(name)


def error(name: str) -> str:
    """Take the error that the socket has, and return its name, or nothing."""
    return error_name(_sockets[name].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def connect_with(name: str, host: str, port: int, size: int) -> int:
    """Connect with data in the SYN where a cookie allows it (TCP fast open); return how many bytes were taken."""
    return _sockets[name].sendto(bytes(size), socket.MSG_FASTOPEN, (host, port))


def fast_opened(name: str) -> bool:
    """Whether data came in the SYN, at either end."""
    options = _sockets[name].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5]
    return bool(options & _TCPI_OPT_SYN_DATA)


def disconnect(name: str) -> None:
    """connect(2) to AF_UNSPEC: the socket can be used again."""
    libc("connect", _sockets[name].fileno(), struct.pack("16x"), 16)


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


def exchange(name: str, size: int, other: str) -> int:
    """Send so many bytes and receive as many from the same peer, both at the same time; return how many came."""
    sender = threading.Thread(target=send, args=(name, size))
    sender.start()
    received = receive(other, size)
    sender.join()
    return received


def sent_again(name: str) -> int:
    """How many segments the socket has sent again so far (tcpi_total_retrans of struct tcp_info)."""
    return int(struct.unpack_from("I", _sockets[name].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0])


def pause(_: str) -> None:
    """Nothing: there is no reading here unless told."""


def shutdown(name: str, how: int = socket.SHUT_WR) -> None:
    """shutdown(2): send FIN, if that is how."""
    _sockets[name].shutdown(how)


def option(name: str, level: int, number: int, value: int) -> None:
    """Set an option of a socket."""
    _sockets[name].setsockopt(level, number, value)


def linger(name: str) -> None:
    """Have it closed by RST."""
    _sockets[name].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(name: str) -> None:
    """Close this process's descriptor."""
    _sockets.pop(name).close()


def ready() -> None:
    """Nothing but an answer."""


def leave() -> None:
    """Exit, with all sockets open."""
    os._exit(0)


def give(name: str, over: int) -> None:
    """Send a descriptor to another process."""
    with socket.socket(fileno=over) as wire:
        socket.send_fds(wire, [b"."], [_sockets[name].fileno()])


def take(name: str, over: int) -> None:
    """Take a descriptor that another process gave."""
    with socket.socket(fileno=over) as wire:
        _, [descriptor], _, _ = socket.recv_fds(wire, 1, 1)
    _sockets[name] = socket.socket(fileno=descriptor)


def fork(comm: str, uid: int, control: int) -> int:
    """Fork a process that has all our sockets and is told what to do by its own; return its pid."""
    child = os.fork()
    if child:
        os.close(control)
        return child
    try:
        for inherited in _controls:
            inherited.close()
        _controls.clear()
        name_thread(comm)
        os.setuid(uid)
        serve(socket.socket(fileno=control))
    finally:
        os._exit(0)


def thread(comm: str, control: int) -> int:
    """Start a thread that has all our sockets and is told what to do by its own; return the process's pid."""

    def run() -> None:
        name_thread(comm)
        serve(socket.socket(fileno=control))

    threading.Thread(target=run, daemon=True).start()
    return os.getpid()


_ALL: tuple[Callable[..., Any], ...] = (
    libc, unread, unacknowledged, listen, bind, make, local_port, connect, connect_later, connected, error,
    connect_with, fast_opened, disconnect, accept, send, receive, pour, discard, exchange, sent_again, pause, shutdown,
    option, linger, close, ready, leave, give, take, fork, thread,
)  # fmt: skip
_ACTIONS = {action.__name__: action for action in _ALL}


def serve(control: socket.socket) -> None:
    """Do as told, until the tests close their end."""
    _controls.append(control)
    while (order := receive_order(control)) is not None:
        (action, *arguments), descriptors = order
        try:
            answer = {"done": _ACTIONS[action](*arguments, *descriptors)}
        except OSError as failure:
            answer = {"error": error_name(failure.errno) or str(failure)}
        control.send(json.dumps(answer).encode())


def _make(name: str, host: str, options: list[Option]) -> socket.socket:
    sock = _sockets[name] = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    for option in options:
        sock.setsockopt(*option)
    return sock


def _queued(sock: socket.socket, request: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock, request, bytes(4)))[0])


if __name__ == "__main__":
    name_thread(sys.argv[1])
    os.setuid(int(sys.argv[2]))
    serve(socket.socket(fileno=0))
