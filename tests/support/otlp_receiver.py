"""OTLP receivers on free loopback ports, over HTTP and gRPC, that answer as a test has them answer."""

from __future__ import annotations

import base64
import dataclasses
import functools
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from typing_extensions import Self

from tests.support.tls import Tls

PROTOBUF = {"Content-Type": "application/x-protobuf"}

_MESSAGES = {"logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest}


def partial_success(rejected: int, message: str = "not these") -> bytes:
    """The body of an answer that rejects so many records."""
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    return ExportLogsServiceResponse(partial_success=partial).SerializeToString()


_IDS = ("traceId", "spanId")


@dataclasses.dataclass(frozen=True)
class Request:
    """What a receiver got."""

    path: str
    """Of gRPC, that of the same request over HTTP."""
    headers: dict[str, str]
    """By lower-case name; the metadata of gRPC."""
    body: bytes

    @property
    def content(self) -> bytes:
        """The body as it was before it was compressed."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    @property
    def signal(self) -> str:
        """`logs`, `metrics`, or another end of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_otlp(self) -> bool:
        """Whether it has logs or metrics."""
        return self.signal in _MESSAGES

    def as_json(self) -> dict[str, Any]:
        """The same as OTLP JSON, whose enumerations are numbers and whose ids are hexadecimal."""
        content = MessageToDict(_MESSAGES[self.signal].FromString(self.content), use_integers_for_enums=True)
        for of_resource in content.get("resourceLogs", []):
            for of_scope in of_resource.get("scopeLogs", []):
                for record in of_scope.get("logRecords", []):
                    ids = {name: base64.b64decode(record[name]).hex() for name in _IDS if name in record}
                    record.update(ids)
        return content


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an HTTP receiver says."""

    status: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    body: bytes = b""


class HttpReceiver(ThreadingHTTPServer):
    """An HTTP server, inside its `with` block, that gives one answer to all requests; `act` replaces the answering.

    A subclass may answer each request by itself.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        """On this port, or on any that is free."""
        super().__init__(("127.0.0.1", port), HttpHandler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.endpoint = f"http://{self.address}"
        self.answer = Answer(200, PROTOBUF)
        self.act: Callable[[HttpHandler], None] = HttpHandler.give_answer
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections: set[socket.socket] = set()

    def take(self, request: Request) -> None:
        """Keep a request; several threads may do so at once."""
        self.requests.append(request)

    def answer_to(self, request: Request) -> Answer:
        """What is said to a request."""
        return self.answer

    def speak_tls(self, tls: Tls, *, ask_client: bool = False) -> None:
        """From the next connection on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.server_cert, tls.server_key)
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(tls.ca)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: tests break connections on purpose."""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class HttpHandler(BaseHTTPRequestHandler):
    """One connection to an HttpReceiver."""

    protocol_version = "HTTP/1.1"

    @property
    def receiver(self) -> HttpReceiver:
        """The server that it came to."""
        assert isinstance(self.server, HttpReceiver)
        return self.server

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        self.receiver.connections += 1
        self.receiver.open_connections.add(self.connection)

    def finish(self) -> None:
        """The connection has ended."""
        self.receiver.open_connections.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        """Keep the request, and have it answered."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_got = Request(self.path, headers, body)
        self.receiver.take(self.request_got)
        self.receiver.act(self)

    def give_answer(self) -> None:
        """Give the receiver's answer."""
        self.give(self.receiver.answer_to(self.request_got))

    def give(self, answer: Answer) -> None:
        """Give this answer."""
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is no access log."""


class FileReceiver(HttpReceiver):
    """Writes what it gets as OTLP JSON lines to logs.jsonl and metrics.jsonl of a directory, as the Collector does."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self._writing = threading.Lock()
        for signal in _MESSAGES:
            (directory / f"{signal}.jsonl").touch()

    def take(self, request: Request) -> None:
        """Write it, and keep nothing."""
        line = json.dumps(request.as_json()) + "\n"
        with self._writing, (self.directory / f"{request.signal}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)


class GrpcReceiver:
    """A gRPC server that answers Export with `answer`, which is called with the context of the call."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None, *, port: int = 0, **options: int) -> None:
        """On this port, or on any that is free."""
        self.answer: Callable[[grpc.ServicerContext], bytes] = lambda _: b""
        self.requests: list[Request] = []
        self._server = grpc.server(
            ThreadPoolExecutor(4), options=[(f"grpc.{name}", value) for name, value in options.items()]
        )
        for signal in _MESSAGES:
            export = functools.partial(self._export, signal)
            handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(export)
            service = f"opentelemetry.proto.collector.{signal}.v1.{signal.title()}Service"
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        listen = f"127.0.0.1:{port}"
        port = (
            self._server.add_secure_port(listen, credentials) if credentials else self._server.add_insecure_port(listen)
        )
        self.address = f"127.0.0.1:{port}"
        self.endpoint = f"http://{self.address}"
        self._server.start()

    def _export(self, signal: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        received = Request(f"/v1/{signal}", metadata, request)
        self.requests.append(received)
        return self.answer_to(received, context)

    def answer_to(self, request: Request, context: grpc.ServicerContext) -> bytes:
        """What is said to a request."""
        return self.answer(context)

    def stop(self) -> None:
        """End all calls, and listen no more."""
        self._server.stop(grace=None).wait()


def grpc_credentials(tls: Tls, *, ask_client: bool = False) -> grpc.ServerCredentials:
    """Those of a GrpcReceiver that speaks TLS."""
    authorities = tls.ca.read_bytes() if ask_client else None
    pair = (tls.server_key.read_bytes(), tls.server_cert.read_bytes())
    return grpc.ssl_server_credentials([pair], authorities, ask_client)
