"""An OTLP/HTTP receiver of logs that answers as a test has it answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from typing_extensions import Self

Answer = Callable[[int, int], tuple[int, bytes]]
"""From the number of the request, from 0, and that of its records: the HTTP status and body."""


def partial_success(rejected: int) -> bytes:
    """The body of an answer that rejects so many records."""
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message="not these")
    return ExportLogsServiceResponse(partial_success=partial).SerializeToString()


class ScriptedReceiver:
    """A receiver on a free loopback port, running inside its `with` block; metrics are taken and thrown away."""

    def __init__(self, answer: Answer) -> None:
        self.records = 0
        """Records in requests that were answered with 200, rejected ones included."""
        self.seen = 0
        """Records in all requests, those of a request that comes again counted again."""
        self._requests = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                status, body = (200, b"") if self.path == "/v1/metrics" else receiver._take(content, answer)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def _take(self, content: bytes, answer: Answer) -> tuple[int, bytes]:
        request = ExportLogsServiceRequest.FromString(content)
        records = sum(len(scope.log_records) for logs in request.resource_logs for scope in logs.scope_logs)
        status, body = answer(self._requests, records)
        self._requests += 1
        self.seen += records
        if status == 200:
            self.records += records
        return status, body

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
