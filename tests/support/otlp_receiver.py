"""OTLP receivers on free loopback ports, over HTTP and gRPC, that answer as a test has them answer."""

from __future__ import annotations

import dataclasses
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from typing_extensions import Self

from otel_tcplife.export.otlp.config import OtlpConfig, Signal, otlp_config
from otel_tcplife.export.otlp.reply import Reply, Success
from otel_tcplife.export.otlp.transport import Transport
from tests.support.tls import Tls

USER_AGENT = "otel-tcplife/1.2.3"
PROTOBUF = {"Content-Type": "application/x-protobuf"}

PATIENCE = 120.0
"""Seconds for what answers at once, however slow the machine."""
IMPATIENCE = 0.3
"""Seconds for what never answers."""

Connect = Callable[..., Transport]
"""From an endpoint, and OTEL_EXPORTER_OTLP_* by the ends of their names, to a transport that ends with the test."""


def configured(signal: Signal, endpoint: str, **options: str) -> OtlpConfig:
    """The configuration of these OTEL_EXPORTER_OTLP_* variables, without the start of their names."""
    environ = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in options.items()}
    return otlp_config(signal, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **environ})


def partial_success(rejected: int, message: str) -> bytes:
    """The body of an answer that rejects so many records."""
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    return ExportLogsServiceResponse(partial_success=partial).SerializeToString()


def reply_from(address: str, reply: Reply) -> Reply:
    """The expected reply with the address of the receiver for PEER."""
    if isinstance(reply, Success):
        return reply
    return dataclasses.replace(reply, reason=reply.reason.replace("PEER", address))


@dataclasses.dataclass(frozen=True)
class Request:
    """What a receiver got."""

    path: str
    headers: dict[str, str]
    """By lower-case name; the metadata of gRPC."""
    body: bytes


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an HTTP receiver says."""

    status: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    body: bytes = b""


class HttpReceiver(ThreadingHTTPServer):
    """An HTTP server, inside its `with` block, that gives one answer to all requests; `act` replaces the answering."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HttpHandler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.answer = Answer(200, PROTOBUF)
        self.act: Callable[[HttpHandler], None] = HttpHandler.give_answer
        self.requests: list[Request] = []
        self.connections = 0

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

    def do_POST(self) -> None:
        """Keep the request, and have it answered."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.requests.append(Request(self.path, headers, body))
        self.receiver.act(self)

    def give_answer(self) -> None:
        """Give the receiver's answer."""
        answer = self.receiver.answer
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is no access log."""


class GrpcReceiver:
    """A gRPC server that answers Export with `answer`, which is called with the context of the call."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None, **options: int) -> None:
        self.answer: Callable[[grpc.ServicerContext], bytes] = lambda _: b""
        self.requests: list[Request] = []
        self._server = grpc.server(
            ThreadPoolExecutor(4), options=[(f"grpc.{name}", value) for name, value in options.items()]
        )
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._export)
        for signal in ("logs.v1.Logs", "metrics.v1.Metrics"):
            service = f"opentelemetry.proto.collector.{signal}Service"
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        listen = "127.0.0.1:0"
        port = (
            self._server.add_secure_port(listen, credentials) if credentials else self._server.add_insecure_port(listen)
        )
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def _export(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        self.requests.append(Request("", metadata, request))
        return self.answer(context)

    def stop(self) -> None:
        """End all calls, and listen no more."""
        self._server.stop(grace=None).wait()


def grpc_credentials(tls: Tls, *, ask_client: bool = False) -> grpc.ServerCredentials:
    """Those of a GrpcReceiver that speaks TLS."""
    authorities = tls.ca.read_bytes() if ask_client else None
    pair = (tls.server_key.read_bytes(), tls.server_cert.read_bytes())
    return grpc.ssl_server_credentials([pair], authorities, ask_client)
