"""Logs over HTTP, against real servers on loopback that answer with each kind of reply."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate

import pytest
from google.rpc.status_pb2 import Status

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.reply import Permanent, Reply, Retryable, Success, TooLarge
from tests.support.otlp_receiver import PROTOBUF, Answer, GrpcReceiver, HttpHandler, HttpReceiver, partial_success
from tests.support.patience import PATIENCE
from tests.support.tls import Tls
from tests.support.transports import IMPATIENCE, USER_AGENT, Connect, reply_from

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host")


def test_request(http_receiver: HttpReceiver, connect: Connect) -> None:
    options = {"HEADERS": "Authorization=Bearer%20x,content-type=text/plain"}
    transport = connect(f"http://{http_receiver.address}/base", **options)
    assert [transport.send(body, PATIENCE) for body in (b"one", b"two", b"")] == [Success()] * 3
    assert [request.body for request in http_receiver.requests] == [b"one", b"two", b""]
    assert http_receiver.connections == 1
    for request in http_receiver.requests:
        assert request.path == "/base/v1/logs"
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers["user-agent"] == USER_AGENT
        assert request.headers["authorization"] == "Bearer x"
        assert "content-encoding" not in request.headers


def test_user_agent_and_credentials_of_the_user(http_receiver: HttpReceiver, connect: Connect) -> None:
    transport = connect(f"http://user:word@{http_receiver.address}", HEADERS="user-agent=mine")
    assert transport.send(b"one", PATIENCE) == Success()
    assert http_receiver.requests[0].headers["user-agent"] == "mine"
    assert http_receiver.requests[0].headers["authorization"] == "Basic dXNlcjp3b3Jk"


@pytest.mark.parametrize(("compression", "decompress"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_compression(
    compression: str,
    decompress: Callable[[bytes], bytes],
    http_receiver: HttpReceiver,
    connect: Connect,
) -> None:
    body = b"session" * 500_000
    transport = connect(f"http://{http_receiver.address}", COMPRESSION=compression)
    assert transport.send(body, PATIENCE) == Success()
    assert http_receiver.requests[0].headers["content-encoding"] == compression
    assert decompress(http_receiver.requests[0].body) == body


# Python 3.13 renamed it.
_CONTENT_TOO_LARGE = HttpHandler.responses[413][0]
_BAD_REQUEST = Status(message="no such\nfield").SerializeToString()


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (Answer(200, PROTOBUF, partial_success(3, "too\nold")), Success(3, "too old")),
        (Answer(200, PROTOBUF, partial_success(0, "soon too old")), Success(0, "soon too old")),
        (Answer(200, PROTOBUF, partial_success(-1, "")), Success()),
        (Answer(200, {"Content-Type": "application/json"}, b"{}"), Success()),
        (Answer(200, {"Content-Type": "text/html"}, b"<html>"), Success()),
        (Answer(202), Success()),
        (Answer(204), Success()),
        (Answer(429, {"Retry-After": "7"}), Retryable("429 Too Many Requests from PEER", 7.0)),
        (Answer(429, {"Retry-After": "0"}), Retryable("429 Too Many Requests from PEER")),
        (Answer(429, {"Retry-After": "9" * 400}), Retryable("429 Too Many Requests from PEER")),
        (Answer(429, {"Retry-After": "soon"}), Retryable("429 Too Many Requests from PEER")),
        (Answer(429, {"Retry-After": formatdate(0, usegmt=True)}), Retryable("429 Too Many Requests from PEER")),
        (Answer(502, {"Content-Type": "text/html"}, b"<html>"), Retryable("502 Bad Gateway from PEER")),
        (
            Answer(503, {"Content-Type": "text/plain; charset=utf-8", "Retry-After": "30"}, b"too\nbusy\n"),
            Retryable("503 Service Unavailable from PEER: too busy", 30.0),
        ),
        (Answer(504), Retryable("504 Gateway Timeout from PEER")),
        (Answer(400, PROTOBUF, _BAD_REQUEST), Permanent("400 Bad Request from PEER: no such field")),
        (Answer(400, PROTOBUF, b"no status"), Permanent("400 Bad Request from PEER")),
        (
            Answer(401, {"Content-Type": "application/json"}, b'{"a": 1}'),
            Permanent('401 Unauthorized from PEER: {"a": 1}'),
        ),
        (Answer(404, {"Content-Type": "text/html"}, b"<html>"), Permanent("404 Not Found from PEER")),
        (Answer(408), Permanent("408 Request Timeout from PEER")),
        (Answer(413), TooLarge(f"413 {_CONTENT_TOO_LARGE} from PEER")),
        # What the Collector answers to more than its max_request_body_size
        (
            Answer(400, {"Content-Type": "text/plain"}, b"http: request body too large\n"),
            TooLarge("400 Bad Request from PEER: http: request body too large"),
        ),
        (Answer(500), Permanent("500 Internal Server Error from PEER")),
        (
            Answer(301, {"Location": "https://elsewhere/v1/logs"}),
            Permanent("301 Moved Permanently from PEER, which points to https://elsewhere/v1/logs"),
        ),
        (
            Answer(307, {"Location": "/other"}),
            Permanent("307 Temporary Redirect from PEER, which points to http://PEER/other"),
        ),
        (Answer(304), Permanent("304 Not Modified from PEER")),
    ],
)
def test_answers(answer: Answer, reply: Reply, http_receiver: HttpReceiver, connect: Connect) -> None:
    http_receiver.answer = answer
    assert connect(f"http://{http_receiver.address}").send(b"one", PATIENCE) == reply_from(http_receiver.address, reply)
    assert len(http_receiver.requests) == 1


def test_retry_after_date(http_receiver: HttpReceiver, connect: Connect) -> None:
    http_receiver.answer = Answer(503, {"Retry-After": formatdate(time.time() + 36_000, usegmt=True)})
    reply = connect(f"http://{http_receiver.address}").send(b"one", PATIENCE)
    assert isinstance(reply, Retryable)
    assert reply.after is not None
    assert 0 < reply.after <= 36_000


@pytest.mark.parametrize("status", [200, 404])
def test_endless_answer(status: int, http_receiver: HttpReceiver, connect: Connect) -> None:
    def act(handler: HttpHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "text/plain")
        handler.end_headers()
        while True:
            handler.wfile.write(b"endless " * 1000)

    http_receiver.act = act
    reply = connect(f"http://{http_receiver.address}").send(b"one", PATIENCE)
    if status == 200:
        assert reply == Success()
    else:
        assert isinstance(reply, Permanent)
        assert reply.reason.endswith(" endless endless e...")


def test_refused_connection(refusing: str, connect: Connect) -> None:
    assert connect(f"http://{refusing}").send(b"one", PATIENCE) == Retryable(f"connection refused by {refusing}")


def test_unknown_name(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    reply = connect("http://collector.invalid:4318").send(b"one", PATIENCE)
    assert reply == Retryable("cannot resolve collector.invalid:4318: Name or service not known")


def test_closed_before_the_answer(http_receiver: HttpReceiver, connect: Connect) -> None:
    http_receiver.act = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    reply = connect(f"http://{http_receiver.address}").send(b"one", PATIENCE)
    assert reply == Retryable(f"{http_receiver.address} closed the connection without an answer")


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (200, Success()),
        (503, Retryable("503 Service Unavailable from PEER", 7.0)),
        (400, Permanent("400 Bad Request from PEER")),
    ],
)
def test_closed_in_the_answer(status: int, reply: Reply, http_receiver: HttpReceiver, connect: Connect) -> None:
    def act(handler: HttpHandler) -> None:
        handler.give_answer()
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    http_receiver.answer = Answer(status, {"Content-Length": "100", "Retry-After": "7"}, b"cut")
    http_receiver.act = act
    assert connect(f"http://{http_receiver.address}").send(b"one", PATIENCE) == reply_from(http_receiver.address, reply)


def test_no_answer(http_receiver: HttpReceiver, connect: Connect) -> None:
    release = threading.Event()

    def act(_: HttpHandler) -> None:
        release.wait()

    http_receiver.act = act
    reply = connect(f"http://{http_receiver.address}").send(b"one", IMPATIENCE)
    release.set()
    assert reply == Retryable(f"no answer from {http_receiver.address} within 0.3 s")


def test_never_read(silent: str, connect: Connect) -> None:
    reply = connect(f"http://{silent}").send(bytes(20_000_000), IMPATIENCE)
    assert reply == Retryable(f"no answer from {silent} within 0.3 s")


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_no_time_left(timeout: float, silent: str, connect: Connect) -> None:
    assert isinstance(connect(f"http://{silent}").send(bytes(20_000_000), timeout), Retryable)


def test_anew_after_a_failure(http_receiver: HttpReceiver, connect: Connect) -> None:
    transport = connect(f"http://{http_receiver.address}")
    http_receiver.act = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    assert isinstance(transport.send(b"one", PATIENCE), Retryable)
    http_receiver.act = HttpHandler.give_answer
    assert transport.send(b"one", PATIENCE) == Success()


def test_proxy(http_receiver: HttpReceiver, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:word@{http_receiver.address}")
    assert connect("http://collector.invalid:4318").send(b"one", PATIENCE) == Success()
    assert http_receiver.requests[0].path == "http://collector.invalid:4318/v1/logs"
    assert http_receiver.requests[0].headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"


def test_refusing_proxy(refusing: str, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:word@{refusing}")
    reply = connect("http://collector.invalid:4318").send(b"one", PATIENCE)
    assert reply == Retryable(f"connection refused by the proxy {refusing}")


def test_no_proxy(
    http_receiver: HttpReceiver, refusing: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{refusing}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    assert connect(f"http://{http_receiver.address}").send(b"one", PATIENCE) == Success()


def test_tls(http_receiver: HttpReceiver, tls: Tls, connect: Connect) -> None:
    http_receiver.speak_tls(tls)
    transport = connect(f"https://{http_receiver.address}", CERTIFICATE=str(tls.ca))
    assert transport.send(b"one", PATIENCE) == Success()


def test_authorities_of_the_environment(
    http_receiver: HttpReceiver, tls: Tls, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    http_receiver.speak_tls(tls)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.ca))
    assert connect(f"https://{http_receiver.address}").send(b"one", PATIENCE) == Success()


def test_untrusted(http_receiver: HttpReceiver, tls: Tls, other_tls: Tls, connect: Connect) -> None:
    http_receiver.speak_tls(tls)
    for options in ({}, {"CERTIFICATE": str(other_tls.ca)}):
        reply = connect(f"https://{http_receiver.address}", **options).send(b"one", PATIENCE)
        assert isinstance(reply, Retryable)
        assert reply.reason.startswith(f"the certificate of {http_receiver.address} is not trusted: ")


def test_mutual_tls(http_receiver: HttpReceiver, tls: Tls, connect: Connect) -> None:
    http_receiver.speak_tls(tls, ask_client=True)
    endpoint, authorities = f"https://{http_receiver.address}", {"CERTIFICATE": str(tls.ca)}
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    assert connect(endpoint, **authorities, **client).send(b"one", PATIENCE) == Success()
    reply = connect(endpoint, **authorities).send(b"one", PATIENCE)
    assert reply in (
        Retryable(f"no TLS with {http_receiver.address}: tlsv13 alert certificate required"),
        # Where the alert comes before the request has gone.
        Retryable(f"{http_receiver.address} closed the connection without an answer"),
    )


def test_tls_with_a_plain_receiver(http_receiver: HttpReceiver, connect: Connect) -> None:
    reply = connect(f"https://{http_receiver.address}").send(b"one", PATIENCE)
    assert isinstance(reply, Retryable)
    assert reply.reason.startswith(f"no TLS with {http_receiver.address}: ")


def test_endpoint_that_requests_cannot_take(connect: Connect) -> None:
    with pytest.raises(BadUsage, match="the OTLP endpoint cannot be used: URL has an invalid label"):
        connect("http://..example:4318")


def test_with_a_grpc_receiver(serve_grpc: Callable[..., GrpcReceiver], connect: Connect) -> None:
    receiver = serve_grpc()
    reply = connect(f"http://{receiver.address}").send(b"one", PATIENCE)
    assert reply in (
        Retryable(f"{receiver.address} does not speak HTTP/1.1; gRPC may be what it speaks"),
        # Where a reset overtakes what the receiver said.
        Retryable(f"{receiver.address} closed the connection without an answer"),
    )
