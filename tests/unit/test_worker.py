"""The queue between the ring and a consumer: bounded, counted, and stopped in time."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest

from otel_tcplife.ledger import Ledger, Outcome
from otel_tcplife.session import SessionBatch, empty
from otel_tcplife.worker import Stop, Worker


def _numbered(first: int, count: int) -> SessionBatch:
    batch = empty(count)
    batch["closed_at"] = np.arange(first, first + count)
    return batch


class _Consumer:
    """Keeps what it gets; waits before each batch until it may go on."""

    def __init__(self, ledger: Ledger) -> None:
        self.may_go_on = threading.Event()
        self.busy = threading.Event()
        self.got: list[list[int]] = []
        self._ledger = ledger

    def __call__(self, batch: SessionBatch) -> None:
        self.busy.set()
        self.may_go_on.wait()
        self.got.append(batch["closed_at"].tolist())
        self._ledger.count("test", Outcome.EXPORTED, len(batch))


def test_all_arrives_in_order_in_batches_of_the_asked_size() -> None:
    ledger, stop = Ledger(), Stop()
    consumer = _Consumer(ledger)
    worker = Worker("test", consumer, ledger, stop, pytest.fail, most=4, linger=0)
    worker.put(_numbered(0, 3))
    consumer.busy.wait()
    worker.put(_numbered(3, 6))
    worker.put(_numbered(9, 1))
    consumer.may_go_on.set()
    stop.ask()
    worker.finish()
    assert [number for batch in consumer.got for number in batch] == list(range(10))
    assert all(len(batch) <= 4 for batch in consumer.got)
    assert ledger.totals() == {("test", Outcome.EXPORTED): 10}


def test_what_finds_no_room_is_dropped_and_counted() -> None:
    ledger, stop = Ledger(), Stop()
    consumer = _Consumer(ledger)
    worker = Worker("test", consumer, ledger, stop, pytest.fail, most=2, linger=0, capacity=5)
    worker.put(_numbered(0, 2))
    consumer.busy.wait()  # these are in hand, no longer in the queue
    worker.put(_numbered(2, 4))
    worker.put(_numbered(6, 4))
    assert not worker.has_room
    consumer.may_go_on.set()
    stop.ask()
    worker.finish()
    assert [number for batch in consumer.got for number in batch] == [0, 1, 2, 3, 4, 5, 6]
    assert ledger.totals() == {("test", Outcome.EXPORTED): 7, ("test", Outcome.DROPPED): 3}
    assert worker.idle


def test_a_consumer_that_hangs_ends_with_all_it_had_unsent() -> None:
    ledger, stop = Ledger(), Stop()
    consumer = _Consumer(ledger)
    worker = Worker("test", consumer, ledger, stop, pytest.fail, most=2, linger=0)
    worker.put(_numbered(0, 2))
    consumer.busy.wait()
    worker.put(_numbered(2, 5))
    stop.ask()
    worker.finish()
    assert ledger.totals() == {("test", Outcome.UNSENT): 7}


def test_sessions_that_trickle_in_wait_for_each_other() -> None:
    ledger, stop = Ledger(), Stop()
    consumer = _Consumer(ledger)
    consumer.may_go_on.set()
    worker = Worker("test", consumer, ledger, stop, pytest.fail, most=3, linger=3600)
    for number in range(3):
        worker.put(_numbered(number, 1))
    consumer.busy.wait()
    stop.ask()
    worker.finish()
    assert consumer.got == [[0, 1, 2]]


def test_what_is_put_after_a_stop_was_asked_is_consumed() -> None:
    """It is what the source had still to give."""
    ledger, stop = Ledger(), Stop()
    consumer = _Consumer(ledger)
    consumer.may_go_on.set()
    worker = Worker("test", consumer, ledger, stop, pytest.fail, most=4, linger=0)
    stop.ask()
    time.sleep(0.6)
    worker.put(_numbered(0, 3))
    worker.finish()
    assert consumer.got == [[0, 1, 2]]
    assert ledger.totals() == {("test", Outcome.EXPORTED): 3}


def test_a_signal_may_ask_for_a_stop_while_its_thread_waits_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where that holds the lock of what it waits on."""
    stop = Stop()

    def interrupted(_condition: threading.Condition, _timeout: float | None = None) -> bool:
        signal.raise_signal(signal.SIGUSR1)
        return True

    def hangs(_number: int, _frame: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(threading.Condition, "wait", interrupted)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: stop.ask())
    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    assert stop.wait(1000)
    signal.alarm(0)


def test_a_consumer_that_fails_costs_its_own_batch_only() -> None:
    """The thread lives on: what it waits for would hang, and all that comes later be lost."""
    ledger, stop, got, said = Ledger(), Stop(), list[int](), list[str]()

    def consume(batch: SessionBatch) -> None:
        numbers = batch["closed_at"].tolist()
        if 2 in numbers:
            ledger.count("test", Outcome.EXPORTED, 1)  # of two: the other is lost
            raise UnicodeEncodeError("ascii", "\u00fc", 0, 1, "made up")
        got.extend(numbers)
        ledger.count("test", Outcome.EXPORTED, len(batch))

    worker = Worker("test", consume, ledger, stop, said.append, most=2, linger=0)
    for first in range(0, 8, 2):
        worker.put(_numbered(first, 2))
        while not worker.idle:
            time.sleep(0.001)
    stop.ask()
    worker.finish()
    assert got == [0, 1, 4, 5, 6, 7]
    assert ledger.totals() == {("test", Outcome.EXPORTED): 7, ("test", Outcome.REJECTED): 1}
    assert said[0].startswith("cannot handle sessions for test: UnicodeEncodeError: ")
    assert said[1:] == ["can handle sessions for test again"]
