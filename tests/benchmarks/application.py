"""A small HTTP server: prints its port, and serves until SIGTERM. `wsgi` is the same for gunicorn."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + bytes(100)


_BODY = bytes(100)


def wsgi(_environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
    """The same answer."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(_BODY)))])
    return [_BODY]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer in one write."""
        self.wfile.write(_ANSWER)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(f"serving {server.server_port}", file=sys.stderr, flush=True)
    server.serve_forever()
