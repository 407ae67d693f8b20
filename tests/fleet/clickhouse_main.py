"""ClickHouse over HTTP: a server that hands queries and inserts to its engine, chDB, in this process.

    python -m tests.fleet.clickhouse_main PORT DIRECTORY USER PASSWORD

It does what clickhouse-go asks of a server: https://clickhouse.com/docs/interfaces/http
"""

from __future__ import annotations

import base64
import importlib
import json
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fleet.clickhouse_wire import compressed, decompressed, native_block

# What is said to the server in a URL and is no setting of the engine. Native is always that of the revision of
# clickhouse-go, whatever client_protocol_version says.
_OF_THE_SERVER = {"query", "database", "default_format", "client_protocol_version", "compress", "decompress"}
_INSERT = re.compile(r"\s*(INSERT\s.*?)\s+FORMAT\s+(\w+)\s*", re.DOTALL)


class _Engine:
    """The engine, with one session."""

    def __init__(self, directory: str) -> None:
        self._session: Any = importlib.import_module("chdb.session").Session(directory)

    def answer(self, asked: dict[str, str], body: bytes) -> bytes:
        """What it answers, in the format that was asked for."""
        self._session.query(f"USE {asked.get('database', 'default')}")
        for name, value in asked.items():
            if name not in _OF_THE_SERVER:
                self._session.query(f"SET {name} = {value}")
        if insert := _INSERT.fullmatch(asked.get("query", "")):
            return self._insert(insert[1], insert[2], body)
        return self._query(asked.get("query", "") + body.decode(), asked.get("default_format", "TabSeparated"))

    def _insert(self, statement: str, form: str, rows: bytes) -> bytes:
        with self._session.send_insert(statement, form) as inserter:
            inserter.append(rows)
            inserter.finish()
        return b""

    def _query(self, query: str, form: str) -> bytes:
        if form != "Native":
            return self._session.query(query, form).bytes()
        # The engine writes Native as of the first revision, and not of the client's
        text = self._session.query(query, "JSONCompact").bytes()
        if not text:
            return b""
        answer = json.loads(text)
        return native_block([(column["name"], column["type"]) for column in answer["meta"]], answer["data"])

    def close(self) -> None:
        """Write all, and end."""
        self._session.close()


class _Server(ThreadingHTTPServer):
    """The engine's server."""

    daemon_threads = True

    def __init__(self, port: int, engine: _Engine, user: str) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.engine = engine
        self.one_at_a_time = threading.Lock()
        self.authorization = "Basic " + base64.b64encode(user.encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a query, with an error of the engine as a server does."""
        assert isinstance(self.server, _Server)
        asked = dict(parse_qsl(urlsplit(self.path).query))
        body = self._body()
        # Until the answer is given, so that the end of the program does not come between an insert and its answer
        with self.server.one_at_a_time:
            status, answer = self._answer(self.server, asked, body)
            self._give(status, compressed(answer) if answer and asked.get("compress") == "1" else answer)

    def _answer(self, server: _Server, asked: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if self.headers["Authorization"] != server.authorization:
            return 403, b"Authentication failed"
        try:
            return 200, server.engine.answer(asked, decompressed(body) if asked.get("decompress") == "1" else body)
        except (RuntimeError, ValueError) as error:
            return 500, str(error).encode()

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _give(self, status: int, answer: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say to the log of the test what was answered."""
        print(self.command, format % args, flush=True)


def main(port: int, directory: str, user: str, password: str) -> None:
    """Serve until SIGINT."""
    engine = _Engine(directory)
    with _Server(port, engine, f"{user}:{password}") as server:

        def stop(*_: object) -> None:
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGINT, stop)
        server.serve_forever(poll_interval=0.05)
        with server.one_at_a_time:
            engine.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
