"""The smallest OTLP/HTTP receiver: writes what it gets as OTLP JSON lines."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from typing_extensions import Self

_REQUESTS = {
    "/v1/logs": (ExportLogsServiceRequest, "logs.jsonl"),
    "/v1/metrics": (ExportMetricsServiceRequest, "metrics.jsonl"),
}


class OtlpSink:
    """An OTLP/HTTP receiver on a free loopback port, running inside its `with` block, that writes to `directory`."""

    def __init__(self, directory: Path) -> None:
        for _, name in _REQUESTS.values():
            (directory / name).touch()
        self._server = _Server(directory)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.http_endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.directory = directory
        self.writing = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        message, name = _REQUESTS[self.path]
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        # OTLP JSON has enumerations as numbers, unlike the JSON of other protocol buffers.
        line = json.dumps(MessageToDict(message.FromString(content), use_integers_for_enums=True)) + "\n"
        with self.server.writing, (self.server.directory / name).open("a", encoding="utf-8") as file:
            file.write(line)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is no access log."""
