"""What a receiver does not take at once is on disk, arrives once and in order when it is back, and is all booked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.otlp.compression import zlib_of
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.logs import OtlpLogExporter
from otel_tcplife.export.otlp.reply import Permanent, Reply, Retryable, Success
from otel_tcplife.export.otlp.request import Body
from otel_tcplife.export.otlp.spool import CannotSpool, Spool
from otel_tcplife.export.otlp.spooling import SpoolingLogExporter
from otel_tcplife.export.resource import Resources
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.sink import NotNow
from otel_tcplife.session import SessionBatch
from tests.support.exporters import sender
from tests.support.sessions import sessions

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    monkeypatch.setattr("otel_tcplife.pipeline.retry.Backoff.first", 0.01)
    monkeypatch.setattr("otel_tcplife.pipeline.retry.Backoff.longest", 0.02)


class Receiver:
    """A transport that a test has answer; while it hangs, nothing is answered."""

    def __init__(self) -> None:
        self.answer: Callable[[], Reply] = Success
        self.ports: list[int] = []
        self.attempts = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def send(self, body: Body, timeout: float) -> Reply:
        self.attempts += 1
        self.may_answer.wait()
        reply = self.answer()
        if isinstance(reply, Success):
            records = ExportLogsServiceRequest.FromString(bytes(body)).resource_logs[0].scope_logs[0].log_records
            self.ports += [
                attribute.value.int_value
                for record in records
                for attribute in record.attributes
                if attribute.key == "network.local.port"
            ]
        return reply

    def close(self) -> None:
        """Nothing to close."""


class Run:
    """A spooling exporter, and what is booked of it."""

    def __init__(self, directory: Path, receiver: Receiver, *, most_bytes: int = 64 * MIB) -> None:
        self.deadline = Deadline(30)
        self.spool = Spool(str(directory), most_bytes)
        self._ledger = Ledger()
        sending = sender(receiver, deadline=self.deadline)
        exporter = OtlpLogExporter(
            "otlp", "export logs to there", LogEncoder(Resources(Resource({}))), sending, "there"
        )
        self.sink = SpoolingLogExporter(exporter, sending, self.spool, self.deadline, self._ledger.count)

    def export(self, first: int, count: int) -> None:
        for outcome, records in self.sink.export(_ports(first, count)).items():
            self._ledger.count("otlp", outcome, records)

    def may_export(self, first: int, count: int) -> bool:
        """Export them; return whether neither the receiver nor the spool has refused them."""
        try:
            self.export(first, count)
        except NotNow:
            return False
        return True

    def stop(self) -> dict[str, int]:
        """What is booked at the end, by sink and outcome."""
        self.deadline.set()
        self.sink.shutdown(self.deadline)
        self.spool.close()
        return {f"{sink} {outcome.value}": count for (sink, outcome), count in self._ledger.totals().items()}


def _ports(first: int, count: int) -> SessionBatch:
    batch = sessions(count)
    batch["local_port"] = range(first, first + count)
    return batch


def _wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.005)


def test_with_a_receiver_that_answers_nothing_is_written(tmp_path: Path) -> None:
    receiver = Receiver()
    run = Run(tmp_path, receiver)
    for first in (1, 11, 21):
        run.export(first, 10)
    assert receiver.ports == [*range(1, 31)]
    assert run.spool.bytes == 0
    assert run.stop() == {"otlp exported": 30}


def test_what_waits_arrives_once_and_in_order(tmp_path: Path) -> None:
    receiver = Receiver()
    run = Run(tmp_path, receiver)
    run.export(1, 10)
    receiver.answer = lambda: Retryable("away")
    for first in range(11, 101, 10):
        run.export(first, 10)
    assert run.spool.items("otlp") == 90
    receiver.answer = Success
    _wait_for(lambda: run.spool.items("otlp") == 0)
    run.export(101, 10)
    assert receiver.ports == [*range(1, 111)]
    booked = run.stop()
    assert booked.pop("otlp exported") + booked.pop("otlp spooled") == 110
    assert booked == {"otlp_spool exported": 90}


def test_an_answer_that_comes_after_the_stop_books_nothing(tmp_path: Path) -> None:
    """The user was told by then that the records wait for the next start, which sends them."""
    receiver = Receiver()
    receiver.may_answer.clear()
    run = Run(tmp_path, receiver)
    run.export(1, 10)
    soon = Deadline(0.01)
    soon.set()
    run.sink.shutdown(soon)
    receiver.may_answer.set()
    _wait_for(lambda: not any(thread.name == "tcplife-otlp-spool" for thread in threading.enumerate()))
    assert run.spool.items("otlp") == 10
    assert run.stop() == {"otlp spooled": 10}


def test_what_waits_at_a_stop_is_sent_by_the_next_start(tmp_path: Path, logged: list[str]) -> None:
    receiver = Receiver()
    receiver.answer = lambda: Retryable("away")
    first = Run(tmp_path, receiver)
    first.export(1, 10)
    first.export(11, 10)
    assert first.stop() == {"otlp spooled": 20}
    receiver.answer = Success
    second = Run(tmp_path, receiver)
    second.export(21, 10)
    _wait_for(lambda: second.spool.items("otlp") == 0)
    booked = second.stop()
    assert receiver.ports == [*range(1, 31)]
    assert sum(booked.values()) - booked.get("otlp spooled", 0) == 30
    assert booked["otlp_spool exported"] == 20 + booked.get("otlp spooled", 0)


def test_a_stop_sends_what_waits_as_long_as_the_receiver_takes_it(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.answer = lambda: Retryable("away")
    first = Run(tmp_path, receiver)
    for number in range(50):
        first.export(10 * number + 1, 10)
    assert first.stop() == {"otlp spooled": 500}
    receiver.answer = Success
    assert Run(tmp_path, receiver).stop() == {"otlp_spool exported": 500}
    assert receiver.ports == [*range(1, 501)]


def test_a_receiver_that_hangs_holds_nothing_in_memory(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.may_answer.clear()
    run = Run(tmp_path, receiver)
    for first in (1, 11, 21):
        run.export(first, 10)
    assert run.spool.items("otlp") == 30
    receiver.may_answer.set()
    _wait_for(lambda: run.spool.items("otlp") == 0)
    assert receiver.ports == [*range(1, 31)]
    assert run.stop() == {"otlp spooled": 30, "otlp_spool exported": 30}


def test_what_is_refused_for_good_is_counted_and_what_is_behind_it_sent(tmp_path: Path) -> None:
    receiver = Receiver()
    answers = iter([Retryable("away"), Permanent("bad"), Success(), Success(3, "too old")])
    receiver.answer = lambda: next(answers, Success())
    run = Run(tmp_path, receiver)
    for first in range(1, 41, 10):
        run.export(first, 10)
    _wait_for(lambda: run.spool.items("otlp") == 0)
    booked = Counter(run.stop())
    assert booked["otlp_spool rejected"] + booked["otlp rejected"] == 13
    assert booked["otlp_spool exported"] + booked["otlp exported"] == 27


def test_a_full_spool_leaves_the_rest_to_the_queue(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.answer = lambda: Retryable("away")
    run = Run(tmp_path, receiver, most_bytes=3000)
    kept = 0
    while run.may_export(kept + 1, 10):
        kept += 10
    with pytest.raises(NotNow, match=r"is full$") as raised:
        run.export(kept + 1, 10)
    assert raised.value.outcomes == {}
    receiver.answer = Success
    _wait_for(lambda: run.spool.items("otlp") == 0)
    run.export(kept + 1, 10)
    assert receiver.ports == [*range(1, kept + 11)]
    run.stop()


def test_a_spool_that_cannot_be_written_to_holds_up_no_receiver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where it cannot give up what has arrived: that is not sent twice."""
    receiver = Receiver()
    receiver.answer = lambda: Retryable("away")
    run = Run(tmp_path, receiver)
    run.export(1, 10)
    run.export(11, 10)

    def fails(*_: object) -> None:
        raise CannotSpool("read-only")

    with monkeypatch.context() as patched:
        patched.setattr(run.spool, "settle", fails)
        patched.setattr(run.spool, "add", fails)
        receiver.answer = Success
        _wait_for(lambda: len(receiver.ports) == 20)
        _wait_for(lambda: run.may_export(21, 10))
        assert receiver.ports == [*range(1, 31)]
    assert run.spool.items("otlp") == 20
    receiver.answer = lambda: Retryable("away")
    run.export(31, 10)
    receiver.answer = Success
    _wait_for(lambda: run.spool.items("otlp") == 0)
    assert receiver.ports == [*range(1, 41)]
    run.stop()


def test_what_the_disk_does_not_give_back_as_it_was_is_counted(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.answer = lambda: Retryable("away")
    run = Run(tmp_path, receiver)
    for first in (1, 11, 21):
        run.export(first, 10)
    assert run.stop() == {"otlp spooled": 30}
    content = bytearray((tmp_path / "spool.db").read_bytes())
    starts = [at for at in range(len(content)) if content.startswith(zlib_of(b"")[:2], at)]
    content[starts[1] + 40] ^= 0xFF
    (tmp_path / "spool.db").write_bytes(content)
    receiver.answer = Success
    again = Run(tmp_path, receiver)
    _wait_for(lambda: again.spool.items("otlp") == 0)
    assert again.stop() == {"otlp_spool exported": 20, "otlp_spool damaged": 10}
    assert len(receiver.ports) == 20


def test_a_fault_in_sending_costs_its_own_request_only(tmp_path: Path, logged: list[str]) -> None:
    """The thread lives on, and what is behind that arrives."""
    receiver = Receiver()
    answers: list[Callable[[], Reply]] = [Success, lambda: 1 // 0, Success]  # pyright: ignore[reportAssignmentType]
    receiver.answer = lambda: answers.pop(0)()
    run = Run(tmp_path, receiver)
    for first in (1, 11, 21):
        run.export(first, 10)
    assert receiver.ports == [*range(1, 11), *range(21, 31)]
    assert run.stop() == {"otlp exported": 20, "otlp rejected": 10}
    assert "ZeroDivisionError" in logged[0]
