"""Logs over gRPC, against real servers on loopback that answer with each kind of reply."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from otel_tcplife.export.otlp.reply import Permanent, Retryable, Success, TooLarge
from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver, grpc_credentials, partial_success
from tests.support.patience import PATIENCE
from tests.support.tls import Tls
from tests.support.transports import IMPATIENCE, USER_AGENT, Connect, reply_from

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host")


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


def test_request(grpc_receiver: GrpcReceiver, connect: Connect) -> None:
    transport = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc", HEADERS="Authorization=Bearer%20x")
    bodies = [b"one", b"two", b""]
    assert [transport.send(body, PATIENCE) for body in bodies] == [Success()] * 3
    assert [request.body for request in grpc_receiver.requests] == bodies
    for request in grpc_receiver.requests:
        assert request.headers["authorization"] == "Bearer x"
        assert request.headers["user-agent"].startswith(f"{USER_AGENT} ")


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_large_request(compression: str, serve_grpc: Callable[..., GrpcReceiver], connect: Connect) -> None:
    receiver = serve_grpc(max_receive_message_length=-1)
    body = b"session" * 3_000_000
    transport = connect(f"http://{receiver.address}", PROTOCOL="grpc", COMPRESSION=compression)
    assert transport.send(body, PATIENCE) == Success()
    assert receiver.requests[0].body == body


def test_compression(serve_grpc: Callable[..., GrpcReceiver], connect: Connect) -> None:
    only_plain = serve_grpc(compression_enabled_algorithms_bitset=1)
    endpoint, body = f"http://{only_plain.address}", bytes(10_000)
    assert connect(endpoint, PROTOCOL="grpc").send(body, PATIENCE) == Success()
    refused = connect(endpoint, PROTOCOL="grpc", COMPRESSION="gzip").send(body, PATIENCE)
    assert isinstance(refused, Permanent)
    assert "gzip" in refused.reason


def test_partial_success(grpc_receiver: GrpcReceiver, connect: Connect) -> None:
    grpc_receiver.answer = lambda _: partial_success(3, "too\nold")
    reply = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", PATIENCE)
    assert reply == Success(3, "too old")


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (_failure(grpc.StatusCode.UNAVAILABLE, "too\nbusy"), Retryable("UNAVAILABLE from PEER: too busy")),
        (_failure(grpc.StatusCode.UNAVAILABLE, "", _retry_in(2, 500_000_000)), Retryable("UNAVAILABLE from PEER", 2.5)),
        (_failure(grpc.StatusCode.UNAVAILABLE, "", _any(BadRequest())), Retryable("UNAVAILABLE from PEER")),
        (
            _failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", _any(BadRequest()), _retry_in(30)),
            Retryable("RESOURCE_EXHAUSTED from PEER: full", 30.0),
        ),
        (
            _failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", _retry_in(0)),
            Retryable("RESOURCE_EXHAUSTED from PEER: full"),
        ),
        (
            _failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "out of memory"),
            Permanent("RESOURCE_EXHAUSTED from PEER: out of memory"),
        ),
        (_failure(grpc.StatusCode.UNAUTHENTICATED, "who?"), Permanent("UNAUTHENTICATED from PEER: who?")),
        (_failure(grpc.StatusCode.INVALID_ARGUMENT, "", _retry_in(1)), Permanent("INVALID_ARGUMENT from PEER")),
    ],
)
def test_answers(
    answer: Callable[[grpc.ServicerContext], bytes],
    reply: Retryable | Permanent,
    grpc_receiver: GrpcReceiver,
    connect: Connect,
) -> None:
    grpc_receiver.answer = answer
    given = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", PATIENCE)
    assert given == reply_from(grpc_receiver.address, reply)
    assert len(grpc_receiver.requests) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5000000 vs. 4194304)"),  # Go
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "gRPC message exceeds maximum size 4194304: 5000000"),  # Java
        (grpc.StatusCode.OUT_OF_RANGE, "Error, decoded message length too large: found 5000000 bytes"),  # Rust
    ],
)
def test_what_is_too_large_is_told_from_what_may_come_later(
    code: grpc.StatusCode, said: str, grpc_receiver: GrpcReceiver, connect: Connect
) -> None:
    grpc_receiver.answer = _failure(code, said)
    reply = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", PATIENCE)
    assert reply == TooLarge(f"{code.name} from {grpc_receiver.address}: {said}")


def test_a_real_server_says_that_a_message_is_too_large(
    serve_grpc: Callable[..., GrpcReceiver], connect: Connect
) -> None:
    receiver = serve_grpc(max_receive_message_length=1000)
    reply = connect(f"http://{receiver.address}", PROTOCOL="grpc").send(bytes(1001), PATIENCE)
    assert isinstance(reply, TooLarge)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_retryable_codes(code: grpc.StatusCode, grpc_receiver: GrpcReceiver, connect: Connect) -> None:
    grpc_receiver.answer = _failure(code, "")
    reply = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", PATIENCE)
    retryable = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
    assert isinstance(reply, Retryable if code.name in retryable else Permanent)


def test_unreadable_details(grpc_receiver: GrpcReceiver, connect: Connect) -> None:
    def answer(context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("grpc-status-details-bin", b"no status"),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    grpc_receiver.answer = answer
    reply = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", PATIENCE)
    assert reply == Permanent(f"RESOURCE_EXHAUSTED from {grpc_receiver.address}: full")


def test_unreadable_answer(grpc_receiver: GrpcReceiver, connect: Connect) -> None:
    grpc_receiver.answer = lambda _: b"no message"
    assert connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", PATIENCE) == Success()


def test_refused_connection_and_back_off(refusing: str, connect: Connect) -> None:
    transport = connect(f"http://{refusing}", PROTOCOL="grpc")
    replies = [transport.send(b"one", PATIENCE) for _ in range(3)]
    assert replies == [Retryable(f"connection refused by {refusing}")] * 3


def test_no_answer(grpc_receiver: GrpcReceiver, connect: Connect) -> None:
    release = threading.Event()

    def answer(_: grpc.ServicerContext) -> bytes:
        release.wait()
        return b""

    grpc_receiver.answer = answer
    reply = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc").send(b"one", IMPATIENCE)
    release.set()
    assert reply == Retryable(f"no answer from {grpc_receiver.address} within 0.3 s")


def test_never_read(silent: str, connect: Connect) -> None:
    reply = connect(f"http://{silent}", PROTOCOL="grpc").send(b"one", IMPATIENCE)
    assert reply == Retryable(f"no answer from {silent} within 0.3 s")


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_no_time_left(timeout: float, silent: str, connect: Connect) -> None:
    assert isinstance(connect(f"http://{silent}", PROTOCOL="grpc").send(bytes(20_000_000), timeout), Retryable)


def test_close_ends_sending(grpc_receiver: GrpcReceiver, connect: Connect) -> None:
    asked, release = threading.Event(), threading.Event()

    def answer(_: grpc.ServicerContext) -> bytes:
        asked.set()
        release.wait()
        return b""

    grpc_receiver.answer = answer
    transport = connect(f"http://{grpc_receiver.address}", PROTOCOL="grpc")
    with ThreadPoolExecutor(1) as executor:
        sending = executor.submit(transport.send, b"one", PATIENCE)
        asked.wait()
        transport.close()
        assert isinstance(sending.result(), Retryable)
    release.set()
    assert isinstance(transport.send(b"one", PATIENCE), Permanent)


def test_with_an_http_receiver(http_receiver: HttpReceiver, connect: Connect) -> None:
    reply = connect(f"http://{http_receiver.address}", PROTOCOL="grpc").send(b"one", PATIENCE)
    assert isinstance(reply, Retryable)
    assert reply.reason.startswith(f"UNAVAILABLE from {http_receiver.address}: ")


def test_tls(serve_grpc: Callable[..., GrpcReceiver], tls: Tls, connect: Connect) -> None:
    receiver = serve_grpc(grpc_credentials(tls))
    for endpoint in (f"https://{receiver.address}", receiver.address):
        transport = connect(endpoint, PROTOCOL="grpc", CERTIFICATE=str(tls.ca))
        assert transport.send(b"one", PATIENCE) == Success()


def test_untrusted(serve_grpc: Callable[..., GrpcReceiver], tls: Tls, other_tls: Tls, connect: Connect) -> None:
    receiver = serve_grpc(grpc_credentials(tls))
    for options in ({}, {"CERTIFICATE": str(other_tls.ca)}):
        reply = connect(f"https://{receiver.address}", PROTOCOL="grpc", **options).send(b"one", PATIENCE)
        assert isinstance(reply, Retryable)
        assert reply.reason.startswith(f"the certificate of {receiver.address} is not trusted: ")


def test_mutual_tls(serve_grpc: Callable[..., GrpcReceiver], tls: Tls, connect: Connect) -> None:
    receiver = serve_grpc(grpc_credentials(tls, ask_client=True))
    options = {"PROTOCOL": "grpc", "CERTIFICATE": str(tls.ca)}
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    assert connect(f"https://{receiver.address}", **options, **client).send(b"one", PATIENCE) == Success()
    assert isinstance(connect(f"https://{receiver.address}", **options).send(b"one", PATIENCE), Retryable)
