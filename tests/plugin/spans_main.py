"""Connects in spans and outside of any, by what a Python program connects with, and tells which connection was which.

Each line has the local port of a connection and the trace and span in which it was made, both empty outside of spans.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from opentelemetry.trace import get_current_span, get_tracer

from tests.plugin.forking.steps import tell

_TRACER = get_tracer("test")
Connect = Callable[[int], object]


class _Handler(BaseHTTPRequestHandler):
    """Answers with the port of the client, by which the other end knows its connection."""

    def do_GET(self) -> None:
        body = str(self.client_address[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def _server() -> Generator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _tell(port: int) -> None:
    span = get_current_span().get_span_context()
    known = span.is_valid
    tell(connected=[port, f"{span.trace_id:032x}" if known else "", f"{span.span_id:016x}" if known else ""])


def by_socket(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        _tell(client.getsockname()[1])


def by_name(port: int) -> None:
    with socket.create_connection(("localhost", port)) as client:
        _tell(client.getsockname()[1])


def by_connect_ex(port: int) -> None:
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        _tell(client.getsockname()[1])


def by_http_client(port: int) -> None:
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", "/")
        _tell(int(connection.getresponse().read()))


def by_urllib(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        _tell(int(answer.read()))


def by_requests(port: int) -> None:
    _tell(int(requests.get(f"http://127.0.0.1:{port}/", timeout=60).text))


def by_asyncio(port: int) -> None:
    async def connect() -> None:
        with _TRACER.start_as_current_span("task"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            _tell(writer.get_extra_info("sockname")[1])
            writer.close()
            await writer.wait_closed()

    async def many() -> None:
        await asyncio.gather(*(connect() for _ in range(4)))

    asyncio.run(many())


def refused(_port: int) -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))  # nobody listens there
        client.bind(("127.0.0.1", 0))
        with suppress(ConnectionRefusedError):
            client.connect(listener.getsockname())
        _tell(client.getsockname()[1])


def by_threads(port: int) -> None:
    """At once, each in a span of its own."""

    def connect() -> None:
        with _TRACER.start_as_current_span("thread"):
            for _ in range(5):
                by_socket(port)

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def by_fork(port: int) -> None:
    child = os.fork()
    if not child:
        by_socket(port)
        os._exit(0)
    os.waitpid(child, 0)


def after_one_that_did_not_begin(port: int) -> None:
    """What was said of that is not to be said of the next one, which is outside of the span."""
    with _TRACER.start_as_current_span("bad"), socket.socket() as client, suppress(OSError):
        client.connect(("255.255.255.255", port))
    with socket.socket() as client:
        client.connect(("127.0.0.1", port))
        tell(connected=[client.getsockname()[1], "", ""])


def _in_each_place() -> Iterator[None]:
    with _TRACER.start_as_current_span("test"):
        yield
    yield


_WAYS: tuple[Connect, ...] = (
    by_socket, by_name, by_connect_ex, by_http_client, by_urllib, by_requests, by_asyncio, refused, by_threads, by_fork,
)  # fmt: skip


def main() -> None:
    """Connect in each way, within a span and outside of any."""
    with _server() as port:
        for _ in _in_each_place():
            for way in _WAYS:
                way(port)
        after_one_that_did_not_begin(port)
    tell(done=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
