"""A small HTTP server: prints its port, and serves until SIGTERM."""

from __future__ import annotations

import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + bytes(100)


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
