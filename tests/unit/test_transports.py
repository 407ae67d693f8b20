"""Both transports against real servers on loopback that answer with each kind of reply."""

from __future__ import annotations

import dataclasses
import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp_config import OtlpConfig, Signal, otlp_config
from otel_tcplife.export.otlp_metrics import otlp_metric_exporter
from otel_tcplife.export.reply import Accepted, Refused, Reply, Retry, one_line
from otel_tcplife.export.transport import Transport, open_transport
from tests.throwaway_tls import Tls, make_tls

_USER_AGENT = "otel-tcplife/1.2.3"
_PROTOBUF = {"Content-Type": "application/x-protobuf"}

# For what answers at once, however slow the machine.
_PATIENCE = 120.0
# For what never answers.
_IMPATIENCE = 0.3


@pytest.fixture(autouse=True)
def _no_configuration_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other_tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_tls(tmp_path_factory.mktemp("other_tls"))


def _config(signal: Signal, endpoint: str, **options: str) -> OtlpConfig:
    environ = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in options.items()}
    return otlp_config(signal, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **environ})


@pytest.fixture
def connect() -> Iterator[Callable[..., Transport]]:
    """Opens transports that end with the test."""
    transports: list[Transport] = []

    def open_one(endpoint: str, **options: str) -> Transport:
        transports.append(open_transport(_config("logs", endpoint, **options), _USER_AGENT))
        return transports[-1]

    yield open_one
    for transport in transports:
        transport.close()


@pytest.fixture
def refusing() -> Iterator[str]:
    """An address that refuses connections, for as long as the test takes."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never reads from them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def _partial(rejected: int, message: str) -> bytes:
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    return ExportLogsServiceResponse(partial_success=partial).SerializeToString()


def _from(address: str, reply: Reply) -> Reply:
    """The expected reply with the address of the receiver for PEER."""
    if isinstance(reply, Accepted):
        return reply
    return dataclasses.replace(reply, reason=reply.reason.replace("PEER", address))


def test_one_line() -> None:
    assert one_line(" two\r\n\x1b[1mlines\t") == "two [1mlines"
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 201) == "x" * 197 + "..."


# HTTP


@dataclasses.dataclass(frozen=True)
class _Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    body: bytes = b""


class _HttpReceiver(ThreadingHTTPServer):
    """An HTTP server that gives one answer to all requests; `act` replaces the answering."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.answer = _Answer(200, _PROTOBUF)
        self.act: Callable[[_Handler], None] = _Handler.give_answer
        self.requests: list[_Request] = []
        self.connections = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def receiver(self) -> _HttpReceiver:
        assert isinstance(self.server, _HttpReceiver)
        return self.server

    def setup(self) -> None:
        super().setup()
        self.receiver.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.requests.append(_Request(self.path, headers, body))
        self.receiver.act(self)

    def give_answer(self) -> None:
        answer = self.receiver.answer
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is no access log."""


@pytest.fixture
def http_receiver() -> Iterator[_HttpReceiver]:
    with _HttpReceiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield receiver
        receiver.shutdown()
        thread.join()


def _speak_tls(receiver: _HttpReceiver, tls: Tls, *, ask_client: bool = False) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.server_cert, tls.server_key)
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tls.ca)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True, do_handshake_on_connect=False)


def test_http_request(http_receiver: _HttpReceiver, connect: Callable[..., Transport]) -> None:
    options = {"HEADERS": "Authorization=Bearer%20x,content-type=text/plain"}
    transport = connect(f"http://{http_receiver.address}/base", **options)
    assert [transport.send(body, _PATIENCE) for body in (b"one", b"two", b"")] == [Accepted()] * 3
    assert [request.body for request in http_receiver.requests] == [b"one", b"two", b""]
    assert http_receiver.connections == 1
    for request in http_receiver.requests:
        assert request.path == "/base/v1/logs"
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers["user-agent"] == _USER_AGENT
        assert request.headers["authorization"] == "Bearer x"
        assert "content-encoding" not in request.headers


def test_http_user_agent_and_credentials_of_the_user(
    http_receiver: _HttpReceiver, connect: Callable[..., Transport]
) -> None:
    transport = connect(f"http://user:word@{http_receiver.address}", HEADERS="user-agent=mine")
    assert transport.send(b"one", _PATIENCE) == Accepted()
    assert http_receiver.requests[0].headers["user-agent"] == "mine"
    assert http_receiver.requests[0].headers["authorization"] == "Basic dXNlcjp3b3Jk"


@pytest.mark.parametrize(("compression", "decompress"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_http_compression(
    compression: str,
    decompress: Callable[[bytes], bytes],
    http_receiver: _HttpReceiver,
    connect: Callable[..., Transport],
) -> None:
    body = b"session" * 500_000
    transport = connect(f"http://{http_receiver.address}", COMPRESSION=compression)
    assert transport.send(body, _PATIENCE) == Accepted()
    assert http_receiver.requests[0].headers["content-encoding"] == compression
    assert decompress(http_receiver.requests[0].body) == body


# Python 3.13 renamed it.
_CONTENT_TOO_LARGE = _Handler.responses[413][0]
_BAD_REQUEST = Status(message="no such\nfield").SerializeToString()


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (_Answer(200, _PROTOBUF, _partial(3, "too\nold")), Accepted(3, "too old")),
        (_Answer(200, _PROTOBUF, _partial(0, "soon too old")), Accepted(0, "soon too old")),
        (_Answer(200, _PROTOBUF, _partial(-1, "")), Accepted()),
        (_Answer(200, {"Content-Type": "application/json"}, b"{}"), Accepted()),
        (_Answer(200, {"Content-Type": "text/html"}, b"<html>"), Accepted()),
        (_Answer(202), Accepted()),
        (_Answer(204), Accepted()),
        (_Answer(429, {"Retry-After": "7"}), Retry("429 Too Many Requests from PEER", 7.0)),
        (_Answer(429, {"Retry-After": "0"}), Retry("429 Too Many Requests from PEER")),
        (_Answer(429, {"Retry-After": "9" * 400}), Retry("429 Too Many Requests from PEER")),
        (_Answer(429, {"Retry-After": "soon"}), Retry("429 Too Many Requests from PEER")),
        (_Answer(429, {"Retry-After": formatdate(0, usegmt=True)}), Retry("429 Too Many Requests from PEER")),
        (_Answer(502, {"Content-Type": "text/html"}, b"<html>"), Retry("502 Bad Gateway from PEER")),
        (
            _Answer(503, {"Content-Type": "text/plain; charset=utf-8", "Retry-After": "30"}, b"too\nbusy\n"),
            Retry("503 Service Unavailable from PEER: too busy", 30.0),
        ),
        (_Answer(504), Retry("504 Gateway Timeout from PEER")),
        (_Answer(400, _PROTOBUF, _BAD_REQUEST), Refused("400 Bad Request from PEER: no such field")),
        (_Answer(400, _PROTOBUF, b"no status"), Refused("400 Bad Request from PEER")),
        (
            _Answer(401, {"Content-Type": "application/json"}, b'{"a": 1}'),
            Refused('401 Unauthorized from PEER: {"a": 1}'),
        ),
        (_Answer(404, {"Content-Type": "text/html"}, b"<html>"), Refused("404 Not Found from PEER")),
        (_Answer(408), Refused("408 Request Timeout from PEER")),
        (_Answer(413), Refused(f"413 {_CONTENT_TOO_LARGE} from PEER")),
        (_Answer(500), Refused("500 Internal Server Error from PEER")),
        (
            _Answer(301, {"Location": "https://elsewhere/v1/logs"}),
            Refused("301 Moved Permanently from PEER, which points to https://elsewhere/v1/logs"),
        ),
        (
            _Answer(307, {"Location": "/other"}),
            Refused("307 Temporary Redirect from PEER, which points to http://PEER/other"),
        ),
        (_Answer(304), Refused("304 Not Modified from PEER")),
    ],
)
def test_http_answers(
    answer: _Answer, reply: Reply, http_receiver: _HttpReceiver, connect: Callable[..., Transport]
) -> None:
    http_receiver.answer = answer
    assert connect(f"http://{http_receiver.address}").send(b"one", _PATIENCE) == _from(http_receiver.address, reply)
    assert len(http_receiver.requests) == 1


def test_http_retry_after_date(http_receiver: _HttpReceiver, connect: Callable[..., Transport]) -> None:
    http_receiver.answer = _Answer(503, {"Retry-After": formatdate(time.time() + 36_000, usegmt=True)})
    reply = connect(f"http://{http_receiver.address}").send(b"one", _PATIENCE)
    assert isinstance(reply, Retry)
    assert reply.after is not None
    assert 0 < reply.after <= 36_000


@pytest.mark.parametrize("status", [200, 404])
def test_http_endless_answer(status: int, http_receiver: _HttpReceiver, connect: Callable[..., Transport]) -> None:
    def act(handler: _Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "text/plain")
        handler.end_headers()
        while True:
            handler.wfile.write(b"endless " * 1000)

    http_receiver.act = act
    reply = connect(f"http://{http_receiver.address}").send(b"one", _PATIENCE)
    if status == 200:
        assert reply == Accepted()
    else:
        assert isinstance(reply, Refused)
        assert reply.reason.endswith(" endless endless e...")


def test_http_refused_connection(refusing: str, connect: Callable[..., Transport]) -> None:
    assert connect(f"http://{refusing}").send(b"one", _PATIENCE) == Retry(f"connection refused by {refusing}")


def test_http_unknown_name(connect: Callable[..., Transport], monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    reply = connect("http://collector.invalid:4318").send(b"one", _PATIENCE)
    assert reply == Retry("cannot resolve collector.invalid:4318: Name or service not known")


def test_http_closed_before_the_answer(http_receiver: _HttpReceiver, connect: Callable[..., Transport]) -> None:
    http_receiver.act = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    reply = connect(f"http://{http_receiver.address}").send(b"one", _PATIENCE)
    assert reply == Retry(f"{http_receiver.address} closed the connection without an answer")


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (200, Accepted()),
        (503, Retry("503 Service Unavailable from PEER", 7.0)),
        (400, Refused("400 Bad Request from PEER")),
    ],
)
def test_http_closed_in_the_answer(
    status: int, reply: Reply, http_receiver: _HttpReceiver, connect: Callable[..., Transport]
) -> None:
    def act(handler: _Handler) -> None:
        handler.give_answer()
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    http_receiver.answer = _Answer(status, {"Content-Length": "100", "Retry-After": "7"}, b"cut")
    http_receiver.act = act
    assert connect(f"http://{http_receiver.address}").send(b"one", _PATIENCE) == _from(http_receiver.address, reply)


def test_http_no_answer(http_receiver: _HttpReceiver, connect: Callable[..., Transport]) -> None:
    release = threading.Event()

    def act(_: _Handler) -> None:
        release.wait()

    http_receiver.act = act
    reply = connect(f"http://{http_receiver.address}").send(b"one", _IMPATIENCE)
    release.set()
    assert reply == Retry(f"no answer from {http_receiver.address} within 0.3 s")


def test_http_never_read(silent: str, connect: Callable[..., Transport]) -> None:
    reply = connect(f"http://{silent}").send(bytes(20_000_000), _IMPATIENCE)
    assert reply == Retry(f"no answer from {silent} within 0.3 s")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_no_time_left(protocol: str, timeout: float, silent: str, connect: Callable[..., Transport]) -> None:
    assert isinstance(connect(f"http://{silent}", PROTOCOL=protocol).send(bytes(20_000_000), timeout), Retry)


def test_http_anew_after_a_failure(http_receiver: _HttpReceiver, connect: Callable[..., Transport]) -> None:
    transport = connect(f"http://{http_receiver.address}")
    http_receiver.act = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    assert isinstance(transport.send(b"one", _PATIENCE), Retry)
    http_receiver.act = _Handler.give_answer
    assert transport.send(b"one", _PATIENCE) == Accepted()


def test_http_proxy(
    http_receiver: _HttpReceiver, connect: Callable[..., Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:word@{http_receiver.address}")
    assert connect("http://collector.invalid:4318").send(b"one", _PATIENCE) == Accepted()
    assert http_receiver.requests[0].path == "http://collector.invalid:4318/v1/logs"
    assert http_receiver.requests[0].headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"


def test_http_refusing_proxy(refusing: str, connect: Callable[..., Transport], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:word@{refusing}")
    reply = connect("http://collector.invalid:4318").send(b"one", _PATIENCE)
    assert reply == Retry(f"connection refused by the proxy {refusing}")


def test_http_no_proxy(
    http_receiver: _HttpReceiver, refusing: str, connect: Callable[..., Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{refusing}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    assert connect(f"http://{http_receiver.address}").send(b"one", _PATIENCE) == Accepted()


def test_http_tls(http_receiver: _HttpReceiver, tls: Tls, connect: Callable[..., Transport]) -> None:
    _speak_tls(http_receiver, tls)
    transport = connect(f"https://{http_receiver.address}", CERTIFICATE=str(tls.ca))
    assert transport.send(b"one", _PATIENCE) == Accepted()


def test_http_authorities_of_the_environment(
    http_receiver: _HttpReceiver, tls: Tls, connect: Callable[..., Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    _speak_tls(http_receiver, tls)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.ca))
    assert connect(f"https://{http_receiver.address}").send(b"one", _PATIENCE) == Accepted()


def test_http_untrusted(
    http_receiver: _HttpReceiver, tls: Tls, other_tls: Tls, connect: Callable[..., Transport]
) -> None:
    _speak_tls(http_receiver, tls)
    for options in ({}, {"CERTIFICATE": str(other_tls.ca)}):
        reply = connect(f"https://{http_receiver.address}", **options).send(b"one", _PATIENCE)
        assert isinstance(reply, Retry)
        assert reply.reason.startswith(f"the certificate of {http_receiver.address} is not trusted: ")


def test_http_mutual_tls(http_receiver: _HttpReceiver, tls: Tls, connect: Callable[..., Transport]) -> None:
    _speak_tls(http_receiver, tls, ask_client=True)
    endpoint, authorities = f"https://{http_receiver.address}", {"CERTIFICATE": str(tls.ca)}
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    assert connect(endpoint, **authorities, **client).send(b"one", _PATIENCE) == Accepted()
    reply = connect(endpoint, **authorities).send(b"one", _PATIENCE)
    assert reply in (
        Retry(f"no TLS with {http_receiver.address}: tlsv13 alert certificate required"),
        # Where the alert comes before the request has gone.
        Retry(f"{http_receiver.address} closed the connection without an answer"),
    )


def test_http_tls_with_a_plain_receiver(http_receiver: _HttpReceiver, connect: Callable[..., Transport]) -> None:
    reply = connect(f"https://{http_receiver.address}").send(b"one", _PATIENCE)
    assert isinstance(reply, Retry)
    assert reply.reason.startswith(f"no TLS with {http_receiver.address}: ")


def test_http_endpoint_that_requests_cannot_take(connect: Callable[..., Transport]) -> None:
    with pytest.raises(BadUsage, match="the OTLP endpoint cannot be used: URL has an invalid label"):
        connect("http://*.example:4318")


def test_http_with_a_grpc_receiver(serve_grpc: Callable[..., _GrpcReceiver], connect: Callable[..., Transport]) -> None:
    receiver = serve_grpc()
    reply = connect(f"http://{receiver.address}").send(b"one", _PATIENCE)
    assert reply in (
        Retry(f"{receiver.address} does not speak HTTP/1.1; gRPC may be what it speaks"),
        # Where a reset overtakes what the receiver said.
        Retry(f"{receiver.address} closed the connection without an answer"),
    )


# gRPC


class _GrpcReceiver:
    """A gRPC server that answers Export with `answer`, which is called with the context of the call."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None, **options: int) -> None:
        self.answer: Callable[[grpc.ServicerContext], bytes] = lambda _: b""
        self.requests: list[_Request] = []
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
        self.requests.append(_Request("", metadata, request))
        return self.answer(context)

    def stop(self) -> None:
        self._server.stop(grace=None).wait()


@pytest.fixture
def serve_grpc() -> Iterator[Callable[..., _GrpcReceiver]]:
    """Starts gRPC receivers that end with the test."""
    receivers: list[_GrpcReceiver] = []

    def start(credentials: grpc.ServerCredentials | None = None, **options: int) -> _GrpcReceiver:
        receivers.append(_GrpcReceiver(credentials, **options))
        return receivers[-1]

    yield start
    for receiver in receivers:
        receiver.stop()


@pytest.fixture
def grpc_receiver(serve_grpc: Callable[..., _GrpcReceiver]) -> _GrpcReceiver:
    return serve_grpc()


def _failure(code: grpc.StatusCode, details: str, *more: AnyMessage) -> Callable[[grpc.ServicerContext], bytes]:
    status = Status(code=code.value[0], message=details, details=more)

    def answer(context: grpc.ServicerContext) -> bytes:
        if more:
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, details)

    return answer


def _any(message: RetryInfo | BadRequest) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def _retry_in(seconds: int, nanos: int = 0) -> AnyMessage:
    return _any(RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos)))


def test_grpc_request(grpc_receiver: _GrpcReceiver, connect: Callable[..., Transport]) -> None:
    transport = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc", HEADERS="Authorization=Bearer%20x")
    bodies = [b"one", b"two", b""]
    assert [transport.send(body, _PATIENCE) for body in bodies] == [Accepted()] * 3
    assert [request.body for request in grpc_receiver.requests] == bodies
    for request in grpc_receiver.requests:
        assert request.headers["authorization"] == "Bearer x"
        assert request.headers["user-agent"].startswith(f"{_USER_AGENT} ")


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_grpc_large_request(
    compression: str, serve_grpc: Callable[..., _GrpcReceiver], connect: Callable[..., Transport]
) -> None:
    receiver = serve_grpc(max_receive_message_length=-1)
    body = b"session" * 3_000_000
    transport = connect(f"http://{receiver.address}", PROTOCOL="grpc", COMPRESSION=compression)
    assert transport.send(body, _PATIENCE) == Accepted()
    assert receiver.requests[0].body == body


def test_grpc_compression(serve_grpc: Callable[..., _GrpcReceiver], connect: Callable[..., Transport]) -> None:
    only_plain = serve_grpc(compression_enabled_algorithms_bitset=1)
    endpoint, body = f"http://{only_plain.address}", bytes(10_000)
    assert connect(endpoint, PROTOCOL="grpc").send(body, _PATIENCE) == Accepted()
    refused = connect(endpoint, PROTOCOL="grpc", COMPRESSION="gzip").send(body, _PATIENCE)
    assert isinstance(refused, Refused)
    assert "gzip" in refused.reason


def test_grpc_partial_success(grpc_receiver: _GrpcReceiver, connect: Callable[..., Transport]) -> None:
    grpc_receiver.answer = lambda _: _partial(3, "too\nold")
    reply = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", _PATIENCE)
    assert reply == Accepted(3, "too old")


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (_failure(grpc.StatusCode.UNAVAILABLE, "too\nbusy"), Retry("UNAVAILABLE from PEER: too busy")),
        (_failure(grpc.StatusCode.UNAVAILABLE, "", _retry_in(2, 500_000_000)), Retry("UNAVAILABLE from PEER", 2.5)),
        (_failure(grpc.StatusCode.UNAVAILABLE, "", _any(BadRequest())), Retry("UNAVAILABLE from PEER")),
        (
            _failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", _any(BadRequest()), _retry_in(30)),
            Retry("RESOURCE_EXHAUSTED from PEER: full", 30.0),
        ),
        (
            _failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", _retry_in(0)),
            Retry("RESOURCE_EXHAUSTED from PEER: full"),
        ),
        (_failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large"), Refused("RESOURCE_EXHAUSTED from PEER: too large")),
        (_failure(grpc.StatusCode.UNAUTHENTICATED, "who?"), Refused("UNAUTHENTICATED from PEER: who?")),
        (_failure(grpc.StatusCode.INVALID_ARGUMENT, "", _retry_in(1)), Refused("INVALID_ARGUMENT from PEER")),
    ],
)
def test_grpc_answers(
    answer: Callable[[grpc.ServicerContext], bytes],
    reply: Retry | Refused,
    grpc_receiver: _GrpcReceiver,
    connect: Callable[..., Transport],
) -> None:
    grpc_receiver.answer = answer
    given = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", _PATIENCE)
    assert given == _from(grpc_receiver.address, reply)
    assert len(grpc_receiver.requests) == 1


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_grpc_retryable_codes(
    code: grpc.StatusCode, grpc_receiver: _GrpcReceiver, connect: Callable[..., Transport]
) -> None:
    grpc_receiver.answer = _failure(code, "")
    reply = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", _PATIENCE)
    retryable = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
    assert isinstance(reply, Retry if code.name in retryable else Refused)


def test_grpc_unreadable_details(grpc_receiver: _GrpcReceiver, connect: Callable[..., Transport]) -> None:
    def answer(context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("grpc-status-details-bin", b"no status"),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    grpc_receiver.answer = answer
    reply = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", _PATIENCE)
    assert reply == Refused(f"RESOURCE_EXHAUSTED from {grpc_receiver.address}: full")


def test_grpc_unreadable_answer(grpc_receiver: _GrpcReceiver, connect: Callable[..., Transport]) -> None:
    grpc_receiver.answer = lambda _: b"no message"
    assert connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", _PATIENCE) == Accepted()


def test_grpc_refused_connection_and_back_off(refusing: str, connect: Callable[..., Transport]) -> None:
    transport = connect(f"http://{refusing}", PROTOCOL="grpc")
    replies = [transport.send(b"one", _PATIENCE) for _ in range(3)]
    assert replies == [Retry(f"connection refused by {refusing}")] * 3


def test_grpc_no_answer(grpc_receiver: _GrpcReceiver, connect: Callable[..., Transport]) -> None:
    release = threading.Event()

    def answer(_: grpc.ServicerContext) -> bytes:
        release.wait()
        return b""

    grpc_receiver.answer = answer
    reply = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", _IMPATIENCE)
    release.set()
    assert reply == Retry(f"no answer from {grpc_receiver.address} within 0.3 s")


def test_grpc_never_read(silent: str, connect: Callable[..., Transport]) -> None:
    reply = connect(f"http://{silent}", PROTOCOL="grpc").send(b"one", _IMPATIENCE)
    assert reply == Retry(f"no answer from {silent} within 0.3 s")


def test_grpc_close_ends_sending(grpc_receiver: _GrpcReceiver, connect: Callable[..., Transport]) -> None:
    asked, release = threading.Event(), threading.Event()

    def answer(_: grpc.ServicerContext) -> bytes:
        asked.set()
        release.wait()
        return b""

    grpc_receiver.answer = answer
    transport = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc")
    with ThreadPoolExecutor(1) as executor:
        sending = executor.submit(transport.send, b"one", _PATIENCE)
        asked.wait()
        transport.close()
        assert isinstance(sending.result(), Retry)
    release.set()
    assert isinstance(transport.send(b"one", _PATIENCE), Refused)


def test_grpc_with_an_http_receiver(http_receiver: _HttpReceiver, connect: Callable[..., Transport]) -> None:
    reply = connect(f"http://{http_receiver.address}", PROTOCOL="grpc").send(b"one", _PATIENCE)
    assert isinstance(reply, Retry)
    assert reply.reason.startswith(f"UNAVAILABLE from {http_receiver.address}: ")


def _grpc_credentials(tls: Tls, *, ask_client: bool = False) -> grpc.ServerCredentials:
    authorities = tls.ca.read_bytes() if ask_client else None
    pair = (tls.server_key.read_bytes(), tls.server_cert.read_bytes())
    return grpc.ssl_server_credentials([pair], authorities, ask_client)


def test_grpc_tls(serve_grpc: Callable[..., _GrpcReceiver], tls: Tls, connect: Callable[..., Transport]) -> None:
    receiver = serve_grpc(_grpc_credentials(tls))
    for endpoint in (f"https://{receiver.address}", receiver.address):
        transport = connect(endpoint, PROTOCOL="grpc", CERTIFICATE=str(tls.ca))
        assert transport.send(b"one", _PATIENCE) == Accepted()


def test_grpc_untrusted(
    serve_grpc: Callable[..., _GrpcReceiver], tls: Tls, other_tls: Tls, connect: Callable[..., Transport]
) -> None:
    receiver = serve_grpc(_grpc_credentials(tls))
    for options in ({}, {"CERTIFICATE": str(other_tls.ca)}):
        reply = connect(f"https://{receiver.address}", PROTOCOL="grpc", **options).send(b"one", _PATIENCE)
        assert isinstance(reply, Retry)
        assert reply.reason.startswith(f"the certificate of {receiver.address} is not trusted: ")


def test_grpc_mutual_tls(serve_grpc: Callable[..., _GrpcReceiver], tls: Tls, connect: Callable[..., Transport]) -> None:
    receiver = serve_grpc(_grpc_credentials(tls, ask_client=True))
    options = {"PROTOCOL": "grpc", "CERTIFICATE": str(tls.ca)}
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    assert connect(f"https://{receiver.address}", **options, **client).send(b"one", _PATIENCE) == Accepted()
    assert isinstance(connect(f"https://{receiver.address}", **options).send(b"one", _PATIENCE), Retry)


# Metrics


def _export_metric(config: OtlpConfig) -> None:
    reader = PeriodicExportingMetricReader(otlp_metric_exporter(config))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("sessions").add(1)
    provider.shutdown()


@pytest.fixture
def _misleading_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK must not read any more, since the configuration has been read."""
    for name, value in {"COMPRESSION": "gzip", "ENDPOINT": "http://127.0.0.1:9", "CERTIFICATE": "/no/such.pem"}.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_METRICS_{name}", value)


@pytest.mark.usefixtures("_misleading_environment")
def test_metrics_over_http(http_receiver: _HttpReceiver) -> None:
    config = _config("metrics", f"http://{http_receiver.address}", HEADERS="key=value", COMPRESSION="deflate")
    _export_metric(config)
    (request,) = http_receiver.requests
    assert (request.path, request.headers["key"]) == ("/v1/metrics", "value")
    assert len(ExportMetricsServiceRequest.FromString(zlib.decompress(request.body)).resource_metrics) == 1


@pytest.mark.usefixtures("_misleading_environment")
def test_metrics_over_http_with_tls(http_receiver: _HttpReceiver, tls: Tls) -> None:
    _speak_tls(http_receiver, tls, ask_client=True)
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    config = _config("metrics", f"https://{http_receiver.address}", CERTIFICATE=str(tls.ca), **client)
    _export_metric(config)
    assert len(http_receiver.requests) == 1


@pytest.mark.usefixtures("_misleading_environment")
def test_metrics_over_grpc(grpc_receiver: _GrpcReceiver) -> None:
    config = _config("metrics", f"http://{grpc_receiver.address}", PROTOCOL="grpc", HEADERS="key=value")
    _export_metric(config)
    (request,) = grpc_receiver.requests
    assert request.headers["key"] == "value"
    assert len(ExportMetricsServiceRequest.FromString(request.body).resource_metrics) == 1


@pytest.mark.usefixtures("_misleading_environment")
def test_metrics_over_grpc_with_tls(serve_grpc: Callable[..., _GrpcReceiver], tls: Tls) -> None:
    receiver = serve_grpc(_grpc_credentials(tls, ask_client=True))
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    config = _config("metrics", receiver.address, PROTOCOL="grpc", CERTIFICATE=str(tls.ca), **client)
    _export_metric(config)
    assert len(receiver.requests) == 1
