"""Whatever a receiver answers, a transport says what came of it: it never raises, and never hangs."""

from __future__ import annotations

import math
import socketserver
import threading
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_tcplife.export.otlp.reply import Permanent, Reply, Retryable, Success, TooLarge
from otel_tcplife.export.otlp.transport import open_transport
from tests.faults.mutations import EXAMPLES, mutated
from tests.support.otlp_receiver import GrpcReceiver, partial_success
from tests.support.patience import PATIENCE
from tests.support.transports import configured

_MUTATING = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    named = {"Content-Type": "application/x-protobuf", "Content-Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode() + body


_HTTP = [
    _answer("200 OK", partial_success(3)),
    _answer("200 OK"),
    _answer("400 Bad Request", Status(code=3, message="no").SerializeToString()),
    _answer("400 Bad Request", b"http: request body too large", Content_Type="text/plain; charset=utf-8"),
    _answer("413 Content Too Large"),
    _answer("429 Too Many Requests", Retry_After="1"),
    _answer("503 Service Unavailable", Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"),
    _answer("307 Temporary Redirect", Location="https://user:secret@example.org:4318/v1/logs"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + _answer("200 OK"),
]


class _Answering(socketserver.ThreadingTCPServer):
    """Reads one request of each connection, answers it and hangs up."""

    daemon_threads = True
    allow_reuse_address = True
    said = b""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.lower().partition(b":")
            length = int(value) if name == b"content-length" else length
        self.rfile.read(length)
        assert isinstance(self.server, _Answering)
        self.wfile.write(self.server.said)


@pytest.fixture
def http() -> Iterator[_Answering]:
    with _Answering(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        yield server
        server.shutdown()


def _is_right(reply: Reply) -> None:
    match reply:
        case Success(rejected, message):
            assert rejected >= 0
            text = message
        case Retryable(reason, after):
            assert after is None or 0 < after < math.inf
            text = reason
        case TooLarge(reason) | Permanent(reason):
            text = reason
            assert reason
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < 5000


@_MUTATING
@given(answer=mutated(_HTTP))
def test_http(http: _Answering, answer: bytes) -> None:
    http.said = answer
    transport = open_transport(configured("logs", f"http://127.0.0.1:{http.server_address[1]}"))
    try:
        _is_right(transport.send(b"x", PATIENCE))
    finally:
        transport.close()


def _statuses() -> list[bytes]:
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=1, nanos=5)))
    return [Status(code=14, message="later", details=[detail, detail]).SerializeToString(), b""]


@pytest.fixture
def grpc_receiver() -> Iterator[GrpcReceiver]:
    receiver = GrpcReceiver()
    yield receiver
    receiver.stop()


@_MUTATING
@given(
    body=mutated([partial_success(3), b""]),
    code=st.sampled_from(list(grpc.StatusCode)),
    details=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=200),
    status=mutated(_statuses()),
)
def test_grpc(grpc_receiver: GrpcReceiver, body: bytes, code: grpc.StatusCode, details: str, status: bytes) -> None:
    def answer(context: grpc.ServicerContext) -> bytes:
        if code is not grpc.StatusCode.OK:
            context.set_trailing_metadata((("grpc-status-details-bin", status),))
            context.abort(code, details)
        return body

    grpc_receiver.answer = answer
    transport = open_transport(configured("logs", grpc_receiver.endpoint, PROTOCOL="grpc"))
    try:
        _is_right(transport.send(b"x", PATIENCE))
    finally:
        transport.close()
