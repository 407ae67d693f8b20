"""What becomes of a batch, for each kind of answer of a real receiver: sent as often as need be, booked once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Ledger, Outcome
from otel_tcplife.pipeline.limits import COMMAND
from otel_tcplife.pipeline.queue import SinkQueue
from otel_tcplife.pipeline.retry import RetryingSink
from otel_tcplife.pipeline.sink import Sink
from otel_tcplife.session import SessionBatch
from tests.support.exporters import REQUEST_BYTES, log_exporter
from tests.support.otlp_receiver import PROTOBUF, Answer, HttpHandler, HttpReceiver
from tests.support.otlp_receiver import partial_success as partial_success_body
from tests.support.sessions import sessions
from tests.support.transports import configured

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host")

OK = Answer(200, PROTOBUF)
BUSY = Answer(503)
BAD = Answer(400)


def partial_success(rejected: int, message: str = "not these") -> Answer:
    return Answer(200, PROTOBUF, partial_success_body(rejected, message))


class HastyDeadline(Deadline):
    """Adds up how long is waited after each try instead of waiting; the time is up after so many."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__(1e6)
        self.waits: list[float] = []
        self._most = most

    def wait(self, seconds: float) -> bool:
        self.waits[-1] += seconds
        return self.is_set

    @property
    def remaining(self) -> float:
        return 0.0 if len(self.waits) >= self._most else 1e6


class Tries:
    """A sink that has the deadline know of each try."""

    def __init__(self, sink: Sink, deadline: Deadline) -> None:
        self.name, self.task, self.max_export_batch_size = sink.name, sink.task, sink.max_export_batch_size
        self.shutdown = sink.shutdown
        self._sink = sink
        self._deadline = deadline

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        if isinstance(self._deadline, HastyDeadline):
            self._deadline.waits.append(0.0)
        return self._sink.export(batch)


class Delivered:
    """Log records to the receiver at this address, and all that comes of them."""

    def __init__(
        self,
        address: str,
        deadline: Deadline | None = None,
        *,
        most_bytes: int = REQUEST_BYTES,
        is_pressed: bool = False,
    ) -> None:
        self.deadline = deadline or HastyDeadline()
        config = configured("logs", f"http://{address}", TIMEOUT="120")
        self.exporter = Tries(log_exporter(config, self.deadline, most_bytes=most_bytes), self.deadline)
        self.sink = RetryingSink(self.exporter, self.deadline, lambda: is_pressed)
        self._outcomes: Counter[Outcome] = Counter()

    def send(self, count: int) -> dict[str, int]:
        """Send so many sessions; what became of all after that."""
        for outcomes in self.sink.export(sessions(count)):
            self._outcomes.update(outcomes)
        return {outcome.value: records for outcome, records in self._outcomes.items() if records}

    @property
    def waits(self) -> list[float]:
        assert isinstance(self.deadline, HastyDeadline)
        """Seconds after each try that failed."""
        return [wait for wait in self.deadline.waits if wait]


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


def test_accepted(http_receiver: HttpReceiver, logged: list[str]) -> None:
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == {"exported": 10}
    assert delivered.send(1) == {"exported": 11}
    assert [ports(request.body) for request in http_receiver.requests] == [list(range(1, 11)), [1]]
    assert logged == []


@pytest.mark.parametrize(
    ("rejected", "outcomes"),
    [
        (1, {"rejected": 1, "exported": 9}),
        (10, {"rejected": 10}),
        (11, {"rejected": 10}),
        (1 << 62, {"rejected": 10}),
    ],
)
def test_partial_success(
    rejected: int, outcomes: dict[str, int], http_receiver: HttpReceiver, logged: list[str]
) -> None:
    answer(http_receiver, partial_success(rejected))
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == outcomes
    assert logged == [
        f"cannot have all logs accepted by http://{http_receiver.address}/v1/logs: not these; "
        f"{outcomes['rejected']} rejected, counted in tcplife.export.records"
    ]
    assert len(http_receiver.requests) == 1


def test_partial_success_without_a_reason(http_receiver: HttpReceiver, logged: list[str]) -> None:
    answer(http_receiver, partial_success(1, ""))
    delivered = Delivered(http_receiver.address)
    delivered.send(10)
    assert "/v1/logs: no reason given; 1 rejected" in logged[0]


def test_refused(http_receiver: HttpReceiver, logged: list[str]) -> None:
    answer(http_receiver, BAD)
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == {"rejected": 10}
    assert logged == [
        f"cannot have all logs accepted by http://{http_receiver.address}/v1/logs: "
        f"400 Bad Request from {http_receiver.address}; 10 rejected, counted in tcplife.export.records"
    ]
    assert len(http_receiver.requests) == 1


def test_rejection_is_logged_once_and_once_that_it_is_over(http_receiver: HttpReceiver, logged: list[str]) -> None:
    answer(http_receiver, BAD, partial_success(2), BAD, OK, OK, BAD)
    delivered, outcomes = Delivered(http_receiver.address), dict[str, int]()
    for _ in range(6):
        outcomes = delivered.send(10)
    assert [line.partition(" accepted by ")[0] for line in logged] == [
        "cannot have all logs",
        "can have all logs",
        "cannot have all logs",
    ]
    assert logged[1] == f"can have all logs accepted by http://{http_receiver.address}/v1/logs again"
    assert outcomes == {"rejected": 32, "exported": 28}


def test_retried_until_accepted(http_receiver: HttpReceiver, logged: list[str]) -> None:
    answer(http_receiver, BUSY, BUSY, BUSY, OK)
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == {"exported": 10}
    assert len(http_receiver.requests) == 4
    assert len({request.body for request in http_receiver.requests}) == 1
    endpoint = f"http://{http_receiver.address}/v1/logs"
    assert logged == [
        f"cannot export logs to {endpoint}: 503 Service Unavailable from {http_receiver.address}; retrying",
        f"can export logs to {endpoint} again",
    ]


def test_retried_until_refused(http_receiver: HttpReceiver, logged: list[str]) -> None:
    answer(http_receiver, BUSY, BAD)
    delivered = Delivered(http_receiver.address)
    assert delivered.send(10) == {"rejected": 10}
    assert [line.partition(" http://")[0] for line in logged] == [
        "cannot export logs to",
        "cannot have all logs accepted by",
        "can export logs to",
    ]


@pytest.mark.usefixtures("logged")
def test_waits_double_up_to_five_seconds(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, *[BUSY] * 8, OK)
    delivered = Delivered(http_receiver.address)
    delivered.send(1)
    for wait, middle in zip(delivered.waits, [1, 2, 4, 5, 5, 5, 5, 5], strict=True):
        assert 0.8 * middle <= wait <= middle


@pytest.mark.usefixtures("logged")
def test_waits_start_anew_with_each_batch(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, *[BUSY] * 4, OK, BUSY, OK)
    delivered = Delivered(http_receiver.address)
    delivered.send(1)
    delivered.send(1)
    assert delivered.waits[-1] <= 1.0


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize(("asked", "least", "most"), [("4", 4, 4), ("7", 7, 7), ("1000", 300, 300), ("0", 0.8, 1.0)])
def test_a_wait_that_the_receiver_asks_for(asked: str, least: float, most: float, http_receiver: HttpReceiver) -> None:
    answer(http_receiver, Answer(429, {"Retry-After": asked}), OK)
    delivered = Delivered(http_receiver.address)
    delivered.send(1)
    [wait] = delivered.waits
    assert least - 0.01 <= wait <= most


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize(("asked", "waited"), [("3", 3), ("7", 5), ("1000", 5)])
def test_no_wait_is_long_while_there_is_little_room(asked: str, waited: float, http_receiver: HttpReceiver) -> None:
    answer(http_receiver, Answer(429, {"Retry-After": asked}), OK)
    delivered = Delivered(http_receiver.address, is_pressed=True)
    delivered.send(1)
    assert delivered.waits == [pytest.approx(waited)]


def test_a_receiver_that_stays_away_leaves_all_unsent(refusing: str, logged: list[str]) -> None:
    delivered = Delivered(refusing, HastyDeadline(most=3))
    assert delivered.send(10) == {"unsent": 10}
    assert delivered.send(10) == {"unsent": 20}
    assert logged == [f"cannot export logs to http://{refusing}/v1/logs: connection refused by {refusing}; retrying"]


@pytest.mark.usefixtures("logged")
def test_once_the_deadline_is_set_no_receiver_is_waited_for_long(http_receiver: HttpReceiver) -> None:
    answer(http_receiver, Answer(503, {"Retry-After": "100000"}), OK)
    deadline = HastyDeadline()
    deadline.set()
    assert Delivered(http_receiver.address, deadline).send(10) == {"exported": 10}


def test_all_that_a_queue_took_is_booked(http_receiver: HttpReceiver, logged: list[str]) -> None:
    kinds = [OK, BAD, BUSY, partial_success(1), partial_success(9999)]
    answer(http_receiver, *random.Random(7).choices(kinds, k=60), OK)
    delivered, ledger = Delivered(http_receiver.address, most_bytes=7 * 825), Ledger()
    queue = SinkQueue(delivered.exporter, ledger, delivered.deadline, replace(COMMAND, schedule_delay=0))
    for count in range(20):
        queue.put(sessions(count))
    while not queue.is_idle:
        time.sleep(0.01)
    delivered.deadline.set()
    queue.shutdown()
    outcomes = {outcome.value: records for (_, outcome), records in ledger.totals().items()}
    assert outcomes.keys() == {"exported", "rejected"}
    assert sum(outcomes.values()) == sum(range(20))
    assert logged
