"""Metrics to real receivers on loopback: configured as the logs are, in requests of the size that they take."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.metrics.reader import Exported
from otel_tcplife.export.resource import Resources
from otel_tcplife.session import SessionBatch
from tests.support.exporters import metric_exporter
from tests.support.otlp_receiver import (
    PROTOBUF,
    Answer,
    GrpcReceiver,
    HttpHandler,
    HttpReceiver,
    Request,
    grpc_credentials,
    partial_success,
)
from tests.support.received import read_requests
from tests.support.sessions import sessions
from tests.support.tls import Tls
from tests.support.transports import configured

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host")

_CONTENT_TOO_LARGE = HttpHandler.responses[413][0]


def _series(count: int) -> SessionBatch:
    """A session of each of so many programs."""
    batch = sessions(count)
    batch["executable"] = [f"program-{number}".encode() for number in range(count)]
    return batch


def _metrics(count: int = 1) -> MetricsData:
    aggregator = Aggregator(Resources(Resource({"service.name": "test"})), Preference(), {})
    aggregator.add(_series(count))
    return aggregator.collect()


def test_over_http(http_receiver: HttpReceiver) -> None:
    config = configured("metrics", f"http://{http_receiver.address}", HEADERS="key=value", COMPRESSION="deflate")
    assert metric_exporter(config).export(_metrics()) == Exported(5)
    (request,) = http_receiver.requests
    assert (request.path, request.headers["key"]) == ("/v1/metrics", "value")
    assert len(ExportMetricsServiceRequest.FromString(zlib.decompress(request.body)).resource_metrics) == 1


def test_over_http_with_tls(http_receiver: HttpReceiver, tls: Tls) -> None:
    http_receiver.speak_tls(tls, ask_client=True)
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    config = configured("metrics", f"https://{http_receiver.address}", CERTIFICATE=str(tls.ca), **client)
    assert metric_exporter(config).export(_metrics()) == Exported(5)
    assert len(http_receiver.requests) == 1


def test_over_grpc(grpc_receiver: GrpcReceiver) -> None:
    config = configured("metrics", f"http://{grpc_receiver.address}", PROTOCOL="grpc", HEADERS="key=value")
    assert metric_exporter(config).export(_metrics()) == Exported(5)
    (request,) = grpc_receiver.requests
    assert request.headers["key"] == "value"
    assert len(ExportMetricsServiceRequest.FromString(request.body).resource_metrics) == 1


def test_over_grpc_with_tls(serve_grpc: Callable[..., GrpcReceiver], tls: Tls) -> None:
    receiver = serve_grpc(grpc_credentials(tls, ask_client=True))
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    config = configured("metrics", receiver.address, PROTOCOL="grpc", CERTIFICATE=str(tls.ca), **client)
    assert metric_exporter(config).export(_metrics()) == Exported(5)
    assert len(receiver.requests) == 1


# The size of requests


def _counts(requests: list[Request]) -> dict[str, int]:
    """Sessions by program, and that no point came twice."""
    points = [
        point
        for point in read_requests(request.as_json() for request in requests).points
        if point.name == "tcplife.session.duration"
    ]
    counts = {str(point.attributes["process.executable.name"]): point.count or 0 for point in points}
    assert len(counts) == len(points)
    return counts


@pytest.mark.parametrize("most_bytes", [1_000_000, 100_000, 10_000, 1])
def test_no_request_is_larger_than_asked_for(most_bytes: int, http_receiver: HttpReceiver) -> None:
    config = configured("metrics", http_receiver.endpoint)
    exported = metric_exporter(config, most_bytes=most_bytes).export(_metrics(200))
    assert exported == Exported(1000)
    sizes = [len(request.body) for request in http_receiver.requests]
    # One data point alone is never divided
    assert all(size <= most_bytes for size in sizes) or len(sizes) == 1000
    assert _counts(http_receiver.requests) == {f"program-{number}": 1 for number in range(200)}


def test_requests_are_smaller_where_grpc_takes_no_larger_ones(
    serve_grpc: Callable[..., GrpcReceiver], logged: list[str]
) -> None:
    receiver = serve_grpc(max_receive_message_length=50_000)
    exporter = metric_exporter(configured("metrics", receiver.endpoint, PROTOCOL="grpc"))
    assert exporter.export(_metrics(200)) == Exported(1000)
    first = len(receiver.requests)
    assert exporter.export(_metrics(200)) == Exported(1000)
    for taken in (receiver.requests[:first], receiver.requests[first:]):
        assert _counts(taken) == {f"program-{number}": 1 for number in range(200)}
    assert len(logged) == 1
    assert "bytes of metrics; they are made smaller from now on" in logged[0]


# What is not delivered


def test_nothing_is_left_of_a_partial_success(http_receiver: HttpReceiver) -> None:
    http_receiver.answer = Answer(200, PROTOBUF, partial_success(2, "too old"))
    exported = metric_exporter(configured("metrics", http_receiver.endpoint)).export(_metrics())
    assert exported == Exported(5, (), "too old", rejected=2)


@pytest.mark.parametrize(
    ("answer", "failure", "is_worth_retrying"),
    [
        (Answer(503), "503 Service Unavailable from {}", True),
        (Answer(429, {"Retry-After": "7"}), "429 Too Many Requests from {}", True),
        (Answer(400), "400 Bad Request from {}", False),
        (Answer(401), "401 Unauthorized from {}", False),
        (Answer(413), f"413 {_CONTENT_TOO_LARGE} from {{}}", False),
        (
            Answer(307, {"Location": "http://elsewhere/v1/metrics"}),
            "307 Temporary Redirect from {}, which points to http://elsewhere/v1/metrics",
            False,
        ),
    ],
)
def test_all_is_left_of_what_is_refused(
    answer: Answer, failure: str, is_worth_retrying: bool, http_receiver: HttpReceiver
) -> None:
    http_receiver.answer = answer
    exported = metric_exporter(configured("metrics", http_receiver.endpoint)).export(_metrics())
    rejected = 0 if is_worth_retrying else 5
    assert exported == Exported(
        5, (0, 1, 2, 3, 4), failure.format(http_receiver.address), is_worth_retrying, rejected=rejected
    )


@pytest.mark.parametrize("exponential", [False, True])
def test_deltas_of_requests_that_fail_come_again_and_no_others(exponential: bool, http_receiver: HttpReceiver) -> None:
    """Over several failures, of some requests of an export and not of others."""
    taken: list[Request] = []
    outcomes = iter(np.random.default_rng(7).random(2000) < 0.6)

    class Flaky(HttpReceiver):
        def take(self, request: Request) -> None:
            self.is_taken = bool(next(outcomes))
            if self.is_taken:
                taken.append(request)

        def answer_to(self, request: Request) -> Answer:
            return Answer(200, PROTOBUF) if self.is_taken else Answer(503)

    made: dict[str, int] = {}
    with Flaky() as receiver:
        exporter = metric_exporter(configured("metrics", receiver.endpoint), most_bytes=5_000)
        preference = Preference(delta_histograms=True, delta_counters=True, exponential=exponential)
        aggregator = Aggregator(Resources(Resource({})), preference, {})
        failures = 0
        for number in range(200):
            batch = _series(40) if number < 60 else _series(0)
            aggregator.add(batch)
            for name in batch["executable"].tolist():
                made[name.decode()] = made.get(name.decode(), 0) + 1
            exported = exporter.export(aggregator.collect())
            aggregator.put_back(exported.undelivered)
            failures += bool(exported.undelivered)
            if number >= 60 and not exported.points:
                break
    assert failures > 20
    received: dict[str, int] = {}
    for point in read_requests(request.as_json() for request in taken).points:
        if point.name == "tcplife.session.duration":
            name = str(point.attributes["process.executable.name"])
            received[name] = received.get(name, 0) + (point.count or 0)
    assert received == made
