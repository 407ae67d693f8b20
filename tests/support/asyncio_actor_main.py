"""What runs in an actor that uses asyncio's streams: the actions of `actor_main.py` that make sense there."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
import termios
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support import actor_main


class Loop:
    """The sockets of one event loop."""

    def __init__(self) -> None:
        self._streams: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self._bound: dict[str, socket.socket] = {}
        self._accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def ready(self) -> None:
        """Nothing but an answer."""

    async def listen(self, name: str, host: str, options: list[actor_main.Option], port: int = 0) -> int:
        """Listen; return the port."""
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        for option in options:
            sock.setsockopt(*option)
        sock.bind((host, port))
        self._server = await asyncio.start_server(self._accept, sock=sock)
        return int(sock.getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._accepted.put((reader, writer))

    async def bind(self, name: str, host: str, options: list[actor_main.Option], port: int = 0) -> int:
        """Make a socket that is bound, but not connected yet; return its port."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._bound[name] = sock = socket.socket(family)
        for option in options:
            sock.setsockopt(*option)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        return int(sock.getsockname()[1])

    async def connect(self, name: str, host: str, port: int) -> str:
        """Connect a bound socket; return the name of the errno, or nothing."""
        sock = self._bound.pop(name)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except OSError as error:
            sock.close()
            return actor_main.error_name(error.errno)
        self._streams[name] = await asyncio.open_connection(sock=sock)
        return ""

    async def accept(self, listener: str, name: str) -> None:
        """The next connection that the loop has accepted."""
        self._streams[name] = await self._accepted.get()

    async def send(self, name: str, size: int) -> None:
        """Send so many bytes."""
        writer = self._streams[name][1]
        writer.write(bytes(size))
        await writer.drain()

    async def receive(self, name: str, size: int) -> int:
        """Receive so many bytes, or what there is before the end; return how many."""
        received = 0
        while received < size and (chunk := await self._streams[name][0].read(size - received)):
            received += len(chunk)
        return received

    async def pause(self, name: str) -> None:
        """Let the loop read no more, so that the bytes stay in the kernel."""
        transport: Any = self._streams[name][1].transport
        transport.pause_reading()

    async def unread(self, name: str) -> int:
        """How many bytes lie in the receive queue."""
        return self._queued(name, termios.FIONREAD)

    async def unacknowledged(self, name: str) -> int:
        """How many bytes lie in the send queue, sent or not."""
        return self._queued(name, termios.TIOCOUTQ)

    def _queued(self, name: str, request: int) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self._socket(name).fileno(), request, bytes(4)))[0])

    async def shutdown(self, name: str) -> None:
        """Send FIN, and keep the descriptor."""
        self._streams[name][1].write_eof()

    async def option(self, name: str, level: int, number: int, value: int) -> None:
        """Set an option of a socket."""
        self._socket(name).setsockopt(level, number, value)

    async def linger(self, name: str) -> None:
        """Have it closed by RST."""
        self._socket(name).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def close(self, name: str) -> None:
        """Close the transport, which may have found out already that the connection is gone."""
        writer = self._streams.pop(name)[1]
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def leave(self) -> None:
        """Exit, with all sockets open."""
        os._exit(0)

    def _socket(self, name: str) -> Any:
        return self._bound.get(name) or self._streams[name][1].get_extra_info("socket")


def serve_in_loop(control: socket.socket) -> None:
    """Do as told, until the tests close their end."""
    asyncio.run(_serve(control))


def _ignore(_: asyncio.AbstractEventLoop, __: dict[str, Any]) -> None:
    """What nobody awaits is no concern of the tests."""


async def _serve(control: socket.socket) -> None:
    running = asyncio.get_running_loop()
    running.set_exception_handler(_ignore)
    control.setblocking(False)
    loop = Loop()
    while message := await running.sock_recv(control, 1 << 16):
        action, *arguments = json.loads(message)
        do: Callable[..., Awaitable[Any]] = getattr(loop, action)
        try:
            answer = {"done": await do(*arguments)}
        except OSError as error:
            answer = {"error": str(error)}
        control.send(json.dumps(answer).encode())
    os._exit(0)
