"""What becomes of a batch, for each kind of answer of a real receiver: sent as often as need be, booked once."""

from __future__ import annotations

import random
import time

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_tcplife.export.delivery import Delivery
from otel_tcplife.export.log_encoder import LogEncoder
from otel_tcplife.export.reply import Accepted, Reply
from otel_tcplife.export.transport import open_transport
from otel_tcplife.ledger import Ledger, Outcome
from otel_tcplife.worker import Stop, Worker
from tests.support.otlp_receiver import PROTOBUF, Answer, HttpHandler, HttpReceiver
from tests.support.otlp_receiver import partial_success as partial_success_body
from tests.support.sessions import sessions
from tests.support.transports import USER_AGENT, configured

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host")

OK = Answer(200, PROTOBUF)
BUSY = Answer(503)
BAD = Answer(400)


def partial_success(rejected: int, message: str = "not these") -> Answer:
    return Answer(200, PROTOBUF, partial_success_body(rejected, message))


class HastyStop(Stop):
    """Keeps the waits instead of waiting; the time is up after so many."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._most = most

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.asked

    @property
    def left(self) -> float:
        return 0.0 if len(self.waits) >= self._most else 1e6


class Delivered:
    """A delivery to the receiver at this address, and all that comes of it."""

    def __init__(self, address: str, stop: Stop | None = None) -> None:
        self.stop = stop or HastyStop()
        self.ledger = Ledger()
        self.said: list[str] = []
        config = configured("logs", f"http://{address}", TIMEOUT="120")
        transport = open_transport(config, USER_AGENT)
        encoder = LogEncoder({})
        self.delivery = Delivery("otlp", encoder, transport, config, self.ledger, self.stop, self.said.append)

    def send(self, count: int) -> dict[str, int]:
        """Send so many sessions; the ledger after that."""
        self.delivery(sessions(count))
        return self.outcomes()

    def outcomes(self) -> dict[str, int]:
        return {outcome.value: records for (_, outcome), records in self.ledger.totals().items()}

    @property
    def waits(self) -> list[float]:
        assert isinstance(self.stop, HastyStop)
        return self.stop.waits


def answer(receiver: HttpReceiver, *answers: Answer) -> None:
    """Have it give these answers in turn, and the last one ever after."""
    remaining = list(answers)

    def act(handler: HttpHandler) -> None:
        receiver.answer = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        handler.give_answer()

    receiver.act = act


def ports(body: bytes) -> list[int]:
    """The local port of each log record in a request."""
    return [
        attribute.value.int_value
        for resource_logs in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope_logs in resource_logs.scope_logs
        for record in scope_logs.log_records
        for attribute in record.attributes
        if attribute.key == "network.local.port"
    ]


def test_accepted(http_receiver: HttpReceiver) -> None:
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == {"exported": 10}
    assert delivered.send(1) == {"exported": 11}
    assert [ports(request.body) for request in http_receiver.requests] == [list(range(1, 11)), [1]]
    assert delivered.said == []


@pytest.mark.parametrize(
    ("rejected", "outcomes"),
    [
        (1, {"rejected": 1, "exported": 9}),
        (10, {"rejected": 10}),
        (11, {"rejected": 10}),
        (1 << 62, {"rejected": 10}),
    ],
)
def test_partial_success(rejected: int, outcomes: dict[str, int], http_receiver: HttpReceiver) -> None:
    answer(http_receiver, partial_success(rejected))
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == outcomes
    assert delivered.said == [
        f"cannot have all logs accepted by http://{http_receiver.address}/v1/logs: not these; "
        f"{outcomes['rejected']} rejected, counted in tcplife.export.records"
    ]
    assert len(http_receiver.requests) == 1


def test_partial_success_without_a_reason(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, partial_success(1, ""))
    delivered = Delivered(http_receiver.address)
    delivered.send(10)
    assert "/v1/logs: no reason given; 1 rejected" in delivered.said[0]


def test_refused(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, BAD)
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == {"rejected": 10}
    assert delivered.said == [
        f"cannot have all logs accepted by http://{http_receiver.address}/v1/logs: "
        f"400 Bad Request from {http_receiver.address}; 10 rejected, counted in tcplife.export.records"
    ]
    assert len(http_receiver.requests) == 1


def test_rejection_is_said_once_and_once_that_it_is_over(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, BAD, partial_success(2), BAD, OK, OK, BAD)
    delivered = Delivered(http_receiver.address)
    for _ in range(6):
        delivered.send(10)
    assert [line.partition(" accepted by ")[0] for line in delivered.said] == [
        "cannot have all logs",
        "can have all logs",
        "cannot have all logs",
    ]
    assert delivered.said[1] == f"can have all logs accepted by http://{http_receiver.address}/v1/logs again"
    assert delivered.outcomes() == {"rejected": 32, "exported": 28}


def test_retried_until_accepted(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, BUSY, BUSY, BUSY, OK)
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == {"exported": 10}
    assert len(http_receiver.requests) == 4
    assert len({request.body for request in http_receiver.requests}) == 1
    endpoint = f"http://{http_receiver.address}/v1/logs"
    assert delivered.said == [
        f"cannot export logs to {endpoint}: 503 Service Unavailable from {http_receiver.address}; retrying",
        f"can export logs to {endpoint} again",
    ]


def test_retried_until_refused(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, BUSY, BAD)
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == {"rejected": 10}
    assert [line.partition(" http://")[0] for line in delivered.said] == [
        "cannot export logs to",
        "can export logs to",
        "cannot have all logs accepted by",
    ]


def test_waits_double_up_to_half_a_minute(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, *[BUSY] * 8, OK)
    delivered = Delivered(http_receiver.address)
    delivered.send(1)
    for wait, middle in zip(delivered.waits, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert 0.8 * middle <= wait <= 1.2 * middle


def test_waits_start_anew_with_each_batch(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, *[BUSY] * 4, OK, BUSY, OK)
    delivered = Delivered(http_receiver.address)
    delivered.send(1)
    delivered.send(1)
    assert delivered.waits[-1] <= 1.2


@pytest.mark.parametrize(("asked", "least", "most"), [("7", 7, 7), ("1000", 300, 300), ("0", 0.8, 1.2)])
def test_a_wait_that_the_receiver_asks_for(asked: str, least: float, most: float, http_receiver: HttpReceiver) -> None:
    answer(http_receiver, Answer(429, {"Retry-After": asked}), OK)
    delivered = Delivered(http_receiver.address)
    delivered.send(1)
    [wait] = delivered.waits
    assert least <= wait <= most


def test_a_receiver_that_stays_away_leaves_all_unbooked(refusing: str) -> None:
    delivered = Delivered(refusing, HastyStop(most=3))
    assert delivered.send(10) == {}
    assert delivered.send(10) == {}
    assert delivered.said == [
        f"cannot export logs to http://{refusing}/v1/logs: connection refused by {refusing}; retrying"
    ]


def test_once_a_stop_is_asked_no_receiver_is_waited_for_long(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, Answer(503, {"Retry-After": "100000"}), OK)
    stop = HastyStop()
    stop.ask()
    assert Delivered(http_receiver.address, stop).send(10) == {"exported": 10}


def test_one_sending_takes_the_configured_time_or_what_the_stop_has_left() -> None:
    lefts, timeouts = [float("inf"), 2.5, 0.0], list[float]()

    class Transport:
        def send(self, body: bytes, timeout: float) -> Reply:
            timeouts.append(timeout)
            return Accepted()

        def close(self) -> None:
            """Nothing to close."""

    class LateStop(Stop):
        @property
        def left(self) -> float:
            return lefts[0]

    stop, ledger = LateStop(), Ledger()
    config = configured("logs", "http://127.0.0.1:9", TIMEOUT="7.5")
    delivery = Delivery("otlp", LogEncoder({}), Transport(), config, ledger, stop, pytest.fail)
    while lefts:
        delivery(sessions(1))
        lefts.pop(0)
    assert timeouts == [7.5, 2.5]
    assert ledger.totals() == {("otlp", Outcome.EXPORTED): 2}


def test_all_that_a_worker_took_is_booked(http_receiver: HttpReceiver) -> None:
    kinds = [OK, BAD, BUSY, partial_success(1), partial_success(9999)]
    answer(http_receiver, *random.Random(7).choices(kinds, k=60), OK)
    delivered = Delivered(http_receiver.address)
    worker = Worker("otlp", delivered.delivery, delivered.ledger, delivered.stop, pytest.fail, most=7, linger=0)
    for count in range(20):
        worker.put(sessions(count))
    while not worker.idle:
        time.sleep(0.01)
    delivered.stop.ask()
    worker.finish()
    outcomes = delivered.outcomes()
    assert outcomes.keys() == {"exported", "rejected"}
    assert sum(outcomes.values()) == sum(range(20))
