"""Requests are made as small as the receiver takes them, and of every item it is known what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.reply import Permanent, Reply, Retryable, Success, TooLarge
from otel_tcplife.export.otlp.request import Body, Request, no_larger_than
from otel_tcplife.export.otlp.sender import Settled
from otel_tcplife.export.resource import Resources
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.sink import NotNow
from tests.support.exporters import log_exporter, sender
from tests.support.otlp_receiver import Answer, GrpcReceiver, HttpHandler, HttpReceiver
from tests.support.otlp_receiver import Request as ReceivedRequest
from tests.support.sessions import sessions
from tests.support.transports import configured

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host")


def _logs(count: int) -> Request:
    return Request(LogEncoder(Resources(Resource({"service.name": "test"}))).encode(sessions(count)), count)


def _ports(body: Body) -> list[int]:
    [scope_logs] = ExportLogsServiceRequest.FromString(bytes(body)).resource_logs[0].scope_logs
    return [
        attribute.value.int_value
        for record in scope_logs.log_records
        for attribute in record.attributes
        if attribute.key == "network.local.port"
    ]


class Receiver:
    """Takes requests up to a size, and none with one of these ports; answers the first ones otherwise."""

    def __init__(self, most_bytes: int = 1 << 30, poison: frozenset[int] = frozenset(), *first: Reply) -> None:
        self.most_bytes = most_bytes
        self.poison = poison
        self.first = [*first]
        self.taken: list[Body] = []
        self.sent = 0

    def send(self, body: Body, timeout: float) -> Reply:
        self.sent += 1
        if self.first and not isinstance(reply := self.first.pop(0), Success):
            return reply
        if len(body) > self.most_bytes or self.poison & {*_ports(body)}:
            return TooLarge("too large")
        self.taken.append(body)
        return Success()

    def close(self) -> None:
        """Nothing to close."""

    @property
    def ports(self) -> list[int]:
        return [port for body in self.taken for port in _ports(body)]


@settings(max_examples=60)
@given(count=st.integers(1, 40), most_bytes=st.integers(1, 40_000))
def test_the_parts_of_logs_are_the_whole(count: int, most_bytes: int) -> None:
    whole = _logs(count)
    parts = no_larger_than(most_bytes, whole, "logs")
    messages = [ExportLogsServiceRequest.FromString(bytes(part.body)) for part in parts]
    assert all(len(part.body) <= most_bytes or part.items == 1 for part in parts)
    merged = ExportLogsServiceRequest.FromString(bytes(whole.body))
    del merged.resource_logs[0].scope_logs[0].log_records[:]
    for part, message in zip(parts, messages):
        records = message.resource_logs[0].scope_logs[0].log_records
        assert len(records) == part.items
        merged.resource_logs[0].scope_logs[0].log_records.extend(records)
    assert merged == ExportLogsServiceRequest.FromString(bytes(whole.body))


@pytest.mark.parametrize("preference", [Preference(), Preference(True, True), Preference(exponential=True)])
@pytest.mark.parametrize("most_bytes", [1, 700, 2_000, 10_000])
def test_the_parts_of_metrics_are_the_whole(preference: Preference, most_bytes: int) -> None:
    aggregator = Aggregator(Resources(Resource({"service.name": "test"})), preference, {})
    batch = sessions(20)
    batch["executable"] = [f"program-{number}".encode() for number in range(20)]
    batch["bytes_sent"], batch["bytes_received"] = 5, 7
    aggregator.add(batch)
    message = encode_metrics(aggregator.collect())
    whole = Request(message.SerializeToString(), _points(message))
    parts = no_larger_than(most_bytes, whole, "metrics")
    assert all(len(part.body) <= most_bytes or part.items == 1 for part in parts)
    merged: dict[str, list[object]] = {}
    for part in parts:
        request = ExportMetricsServiceRequest.FromString(bytes(part.body))
        assert _points(request) == part.items
        assert request.resource_metrics[0].resource == message.resource_metrics[0].resource
        assert request.resource_metrics[0].scope_metrics[0].scope == message.resource_metrics[0].scope_metrics[0].scope
        _collect(request, merged)
    expected: dict[str, list[object]] = {}
    _collect(message, expected)
    assert merged == expected


def _points(message: ExportMetricsServiceRequest) -> int:
    kept: dict[str, list[object]] = {}
    _collect(message, kept)
    return sum(map(len, kept.values()))


def _collect(message: ExportMetricsServiceRequest, points: dict[str, list[object]]) -> None:
    """The data points by all that their metric says of them."""
    for metric in message.resource_metrics[0].scope_metrics[0].metrics:
        data = getattr(metric, str(metric.WhichOneof("data")))
        header = (metric.name, metric.unit, metric.description, metric.WhichOneof("data"), data.aggregation_temporality)
        points.setdefault(str(header), []).extend(data.data_points)


@pytest.mark.usefixtures("logged")
@settings(max_examples=60)
@given(most_bytes=st.integers(1, 30_000), poison=st.sets(st.integers(1, 40)), count=st.integers(1, 40))
def test_only_what_alone_is_too_large_is_rejected(most_bytes: int, poison: set[int], count: int) -> None:
    receiver = Receiver(most_bytes, frozenset(poison))
    sending = sender(receiver)
    largest = max(len(_logs(1).body), len(_logs(40).body) // 40 + 200)
    sent = sending.send([_logs(count)])
    assert sum(each.items for each in sent.settled) == count
    assert sent.taken + sent.rejected == count
    assert not sent.left
    if most_bytes >= largest:
        assert receiver.ports == [port for port in range(1, count + 1) if port not in poison]
        assert sent.rejected == len(poison & {*range(1, count + 1)})
    assert sent.taken == len(receiver.ports)


def test_the_size_that_a_receiver_takes_is_remembered(logged: list[str]) -> None:
    receiver = Receiver(4_000)
    sending = sender(receiver)
    for _ in range(3):
        sending.send([_logs(20)])
    assert receiver.ports == [*range(1, 21)] * 3
    sent, taken = receiver.sent, len(receiver.taken)
    sending.send([_logs(20)])
    assert receiver.sent - sent == len(receiver.taken) - taken  # none is refused any more
    assert logged == [
        f"there takes no larger requests than {sending.most_bytes} bytes of logs; they are made smaller from now on"
    ]


def test_one_record_that_is_too_large_makes_no_other_request_smaller() -> None:
    receiver = Receiver(poison=frozenset({7}))
    sending = sender(receiver)
    assert sending.send([_logs(20)]).rejected == 1
    assert sending.most_bytes == 1_000_000


def test_what_comes_after_a_retryable_answer_is_left_in_order() -> None:
    receiver = Receiver(1 << 30, frozenset(), Success(), Retryable("away", 3.0))
    requests = [_logs(3), _logs(4), _logs(5)]
    sent = sender(receiver).send(requests)
    assert sent.settled == [Settled(3, 0, was_taken=True)]
    assert sent.left == requests[1:]
    assert sent.later == Retryable("away", 3.0)


def test_what_comes_after_a_refusal_is_sent() -> None:
    receiver = Receiver(1 << 30, frozenset(), Permanent("bad"), Success())
    sent = sender(receiver).send([_logs(3), _logs(4)])
    assert sent.settled == [Settled(3, 3, was_taken=False), Settled(4, 0, was_taken=True)]
    assert (sent.taken, sent.rejected, sent.why_rejected, sent.later) == (4, 3, "bad", None)


def test_one_sending_takes_the_configured_time_or_what_is_left() -> None:
    lefts, timeouts = [float("inf"), 2.5, 0.0], list[float]()

    class Noting(Receiver):
        def send(self, body: Body, timeout: float) -> Reply:
            timeouts.append(timeout)
            return Success()

    class LateDeadline(Deadline):
        @property
        def remaining(self) -> float:
            return lefts[0]

    sending = sender(Noting(), deadline=LateDeadline(1), timeout=7.5)
    while lefts:
        sending.send([_logs(1)])
        lefts.pop(0)
    assert timeouts == [7.5, 2.5, 0.5]


def _all_ports(requests: list[ReceivedRequest]) -> list[int]:
    return sorted(port for request in requests for port in _ports(request.content))


class Gateway(HttpReceiver):
    """Answers 413 to what is larger than it takes, as nginx does."""

    def answer_to(self, request: ReceivedRequest) -> Answer:
        return Answer(413) if len(request.body) > 100_000 else super().answer_to(request)


@pytest.mark.usefixtures("logged")
def test_all_logs_pass_a_gateway_that_takes_less() -> None:
    with Gateway() as receiver:
        exporter = log_exporter(configured("logs", receiver.endpoint))
        outcomes = exporter.export(sessions(2000))
        taken = [request for request in receiver.requests if len(request.body) <= 100_000]
        assert {outcome.value: count for outcome, count in outcomes.items()} == {"exported": 2000}
        assert _all_ports(taken) == [*range(1, 2001)]
        receiver.requests.clear()
        exporter.export(sessions(2000))
        assert max(len(request.body) for request in receiver.requests) <= 100_000


@pytest.mark.usefixtures("logged")
def test_all_logs_pass_a_grpc_receiver_that_takes_less(serve_grpc: Callable[..., GrpcReceiver]) -> None:
    receiver = serve_grpc(max_receive_message_length=100_000)
    exporter = log_exporter(configured("logs", receiver.endpoint, PROTOCOL="grpc"))
    outcomes = exporter.export(sessions(2000))
    assert {outcome.value: count for outcome, count in outcomes.items()} == {"exported": 2000}
    assert _all_ports(receiver.requests) == [*range(1, 2001)]


def test_what_a_receiver_does_not_take_now_is_not_made() -> None:
    """A receiver that is away would cost as much as one that takes all."""
    made: list[int] = []

    def requests() -> Iterator[Request]:
        for number in range(3):
            made.append(number)
            yield _logs(1)

    sent = sender(Receiver(1 << 30, frozenset(), Retryable("away"))).send(requests())
    assert made == [0]
    assert len(sent.left) == 3
    assert made == [0, 1, 2]


def test_requests_are_as_large_as_they_may_be(http_receiver: HttpReceiver) -> None:
    exporter = log_exporter(configured("logs", http_receiver.endpoint), most_bytes=100_000)
    exporter.export(sessions(exporter.max_export_batch_size))
    sizes = [len(request.body) for request in http_receiver.requests]
    assert max(sizes) <= 100_000
    assert min(sizes[:-1]) > 98_000
    assert _all_ports(http_receiver.requests) == [*range(1, exporter.max_export_batch_size + 1)]


def test_nothing_more_is_sent_when_the_time_is_over(http_receiver: HttpReceiver) -> None:
    """It would arrive, and be booked as unsent."""
    deadline = Deadline(0)
    exporter = log_exporter(configured("logs", http_receiver.endpoint), most_bytes=100_000, deadline=deadline)

    def answer_late(handler: HttpHandler) -> None:
        deadline.set()
        handler.give_answer()

    http_receiver.act = answer_late
    with pytest.raises(NotNow) as caught:
        exporter.export(sessions(1000))
    exported = caught.value.outcomes[Outcome.EXPORTED]
    assert 0 < exported < 1000
    assert len(caught.value.left) == 1000 - exported
    assert _all_ports(http_receiver.requests) == [*range(1, exported + 1)]
