"""The queue between the ring and a consumer: bounded, counted, and stopped in time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Ledger, Outcome
from otel_tcplife.pipeline.limits import COMMAND
from otel_tcplife.pipeline.queue import SinkQueue
from otel_tcplife.pipeline.sink import NotNow, Sink
from otel_tcplife.session import SessionBatch, empty


def _numbered(first: int, count: int) -> SessionBatch:
    batch = empty(count)
    batch["closed_at"] = np.arange(first, first + count)
    return batch


class _Sink:
    """Keeps what it gets; waits before each batch until it may go on."""

    name = "test"
    task = "test"

    def __init__(self, max_export_batch_size: int) -> None:
        self.max_export_batch_size = max_export_batch_size
        self.may_go_on = threading.Event()
        self.busy = threading.Event()
        self.got: list[list[int]] = []

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        self.busy.set()
        self.may_go_on.wait()
        self.got.append(batch["closed_at"].tolist())
        return {Outcome.EXPORTED: len(batch)}

    def shutdown(self, deadline: Deadline) -> None: ...


def _queue(
    sink: Sink, ledger: Ledger, deadline: Deadline, *, schedule_delay: float = 0, max_queue_size: int = 65536
) -> SinkQueue:
    return SinkQueue(
        sink, ledger, deadline, replace(COMMAND, schedule_delay=schedule_delay, max_queue_size=max_queue_size)
    )


def test_all_arrives_in_order_in_batches_of_the_asked_size() -> None:
    ledger, deadline = Ledger(), Deadline(3.5)
    sink = _Sink(4)
    queue = _queue(sink, ledger, deadline)
    queue.put(_numbered(0, 3))
    sink.busy.wait()
    queue.put(_numbered(3, 6))
    queue.put(_numbered(9, 1))
    sink.may_go_on.set()
    deadline.set()
    queue.shutdown()
    assert [number for batch in sink.got for number in batch] == list(range(10))
    assert all(len(batch) <= 4 for batch in sink.got)
    assert ledger.totals() == {("test", Outcome.EXPORTED): 10}


def test_what_finds_no_room_is_dropped_and_counted() -> None:
    ledger, deadline = Ledger(), Deadline(3.5)
    sink = _Sink(2)
    queue = _queue(sink, ledger, deadline, max_queue_size=5)
    queue.put(_numbered(0, 2))
    sink.busy.wait()  # these are in hand, no longer in the queue
    queue.put(_numbered(2, 4))
    queue.put(_numbered(6, 4))
    assert not queue.has_room
    sink.may_go_on.set()
    deadline.set()
    queue.shutdown()
    assert [number for batch in sink.got for number in batch] == [0, 1, 2, 3, 4, 5, 6]
    assert ledger.totals() == {("test", Outcome.EXPORTED): 7, ("test", Outcome.DROPPED): 3}
    assert queue.is_idle


def test_a_consumer_that_hangs_ends_with_all_it_had_unsent() -> None:
    ledger, deadline = Ledger(), Deadline(3.5)
    sink = _Sink(2)
    queue = _queue(sink, ledger, deadline)
    queue.put(_numbered(0, 2))
    sink.busy.wait()
    queue.put(_numbered(2, 5))
    deadline.set()
    queue.shutdown()
    assert ledger.totals() == {("test", Outcome.UNSENT): 7}


def test_sessions_that_trickle_in_wait_for_each_other() -> None:
    ledger, deadline = Ledger(), Deadline(3.5)
    sink = _Sink(3)
    sink.may_go_on.set()
    queue = _queue(sink, ledger, deadline, schedule_delay=3600)
    for number in range(3):
        queue.put(_numbered(number, 1))
    sink.busy.wait()
    deadline.set()
    queue.shutdown()
    assert sink.got == [[0, 1, 2]]


def test_what_fills_half_of_the_queue_waits_for_no_more() -> None:
    """Where a sink takes as much as the queue holds, what comes meanwhile would find no room."""
    ledger, deadline = Ledger(), Deadline(3.5)
    sink = _Sink(8)
    sink.may_go_on.set()
    queue = _queue(sink, ledger, deadline, schedule_delay=3600, max_queue_size=8)
    for number in range(4):
        queue.put(_numbered(number, 1))
    sink.busy.wait()
    deadline.set()
    queue.shutdown()
    assert sink.got == [[0, 1, 2, 3]]


def test_what_is_put_after_a_stop_was_asked_is_consumed() -> None:
    """It is what the source had still to give."""
    ledger, deadline = Ledger(), Deadline(3.5)
    sink = _Sink(4)
    sink.may_go_on.set()
    queue = _queue(sink, ledger, deadline)
    deadline.set()
    time.sleep(0.6)
    queue.put(_numbered(0, 3))
    queue.shutdown()
    assert sink.got == [[0, 1, 2]]
    assert ledger.totals() == {("test", Outcome.EXPORTED): 3}


def test_a_signal_may_ask_for_a_stop_while_its_thread_waits_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where that holds the lock of what it waits on."""
    deadline = Deadline(3.5)

    def interrupted(_condition: threading.Condition, _timeout: float | None = None) -> bool:
        signal.raise_signal(signal.SIGUSR1)
        return True

    def hangs(_number: int, _frame: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(threading.Condition, "wait", interrupted)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: deadline.set())
    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    assert deadline.wait(1000)
    signal.alarm(0)


class _Fails(_Sink):
    """Fails with the session 2, and says less than all of those with the session 5."""

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        numbers = batch["closed_at"].tolist()
        if 2 in numbers:
            raise UnicodeEncodeError("ascii", "\u00fc", 0, 1, "made up")
        self.got.append(numbers)
        return {Outcome.EXPORTED: 1 if 5 in numbers else len(batch)}


def test_a_sink_that_fails_costs_its_own_batch_only(logged: list[str]) -> None:
    """The thread lives on: what it waits for would hang, and all that comes later be lost."""
    ledger, deadline, sink = Ledger(), Deadline(3.5), _Fails(2)
    queue = _queue(sink, ledger, deadline)
    for first in range(0, 8, 2):
        queue.put(_numbered(first, 2))
        while not queue.is_idle:
            time.sleep(0.001)
    deadline.set()
    queue.shutdown()
    assert sink.got == [[0, 1], [4, 5], [6, 7]]
    assert ledger.totals() == {("test", Outcome.EXPORTED): 4, ("test", Outcome.REJECTED): 4}
    assert logged[0].startswith("cannot handle sessions for test: UnicodeEncodeError: ")
    assert logged[1:] == ["can handle sessions for test again"]


@pytest.mark.usefixtures("logged")
def test_batches_that_cannot_be_put_together_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread lives on: there are two of them."""
    ledger, deadline = Ledger(), Deadline(60)
    monkeypatch.setattr("otel_tcplife.pipeline.queue.concatenated", int)  # raises an exception, as for want of memory
    queue = _queue(_Sink(2), ledger, deadline)
    queue.put(_numbered(0, 4))
    deadline.set()
    queue.shutdown()
    assert ledger.totals() == {("test", Outcome.REJECTED): 4}


def test_what_an_export_does_not_account_for_is_a_failure(logged: list[str]) -> None:
    """Of each record it has to say what became of it; none is silently left over."""
    ledger, deadline = Ledger(), Deadline(3.5)
    queue = _queue(_Fails(2), ledger, deadline)
    queue.put(_numbered(4, 2))
    deadline.set()
    queue.shutdown()
    assert ledger.totals() == {("test", Outcome.REJECTED): 2}
    assert "2 sessions became {<Outcome.EXPORTED: 'exported'>: 1}" in logged[0]


def test_what_a_sink_says_after_the_deadline_does_not_count_twice() -> None:
    ledger, deadline, sink = Ledger(), Deadline(0.05), _Sink(2)
    queue = _queue(sink, ledger, deadline)
    queue.put(_numbered(0, 2))
    sink.busy.wait()
    deadline.set()
    queue.shutdown()
    sink.may_go_on.set()
    while not sink.got:
        time.sleep(0.001)
    time.sleep(0.05)
    assert ledger.totals() == {("test", Outcome.UNSENT): 2}


class _DeliversInParts(_Sink):
    """Delivers one session of those that it is given, and the next one when it may go on."""

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        if self.got:
            self.busy.set()
            self.may_go_on.wait()
        self.got.append(batch["closed_at"][:1].tolist())
        if len(batch) > 1:
            raise NotNow("made up", batch[1:], outcomes={Outcome.EXPORTED: 1})
        return {Outcome.EXPORTED: 1}


@pytest.mark.usefixtures("logged")
def test_what_was_delivered_before_a_sink_hangs_is_not_unsent() -> None:
    ledger, deadline, sink = Ledger(), Deadline(0.05), _DeliversInParts(3)
    queue = _queue(sink, ledger, deadline)
    queue.put(_numbered(0, 3))
    sink.busy.wait()
    deadline.set()
    queue.shutdown()
    assert sink.got == [[0]]
    assert ledger.totals() == {("test", Outcome.EXPORTED): 1, ("test", Outcome.UNSENT): 2}


@pytest.mark.usefixtures("logged")
def test_what_was_delivered_in_parts_is_all_booked() -> None:
    ledger, deadline, sink = Ledger(), Deadline(60), _DeliversInParts(3)
    sink.may_go_on.set()
    queue = _queue(sink, ledger, deadline)
    queue.put(_numbered(0, 3))
    deadline.set()
    queue.shutdown()
    assert sink.got == [[0], [1], [2]]
    assert ledger.totals() == {("test", Outcome.EXPORTED): 3}


def test_a_sink_may_tell_what_it_delivered_a_moment_after_the_deadline() -> None:
    """A try that began in time ends at the deadline, and its thread is not the first that runs then."""
    ledger, deadline, sink = Ledger(), Deadline(0.05), _Sink(2)
    queue = _queue(sink, ledger, deadline)
    queue.put(_numbered(0, 2))
    sink.busy.wait()
    deadline.set()
    threading.Timer(0.1, sink.may_go_on.set).start()
    queue.shutdown()
    assert ledger.totals() == {("test", Outcome.EXPORTED): 2}


class _DeliversThenFails(_Sink):
    """Delivers one session, and raises an exception when it is given the others."""

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        if self.got:
            raise ValueError("made up")
        self.got.append(batch["closed_at"][:1].tolist())
        raise NotNow("made up", batch[1:], outcomes={Outcome.EXPORTED: 1})


@pytest.mark.usefixtures("logged")
def test_what_was_delivered_before_a_sink_fails_is_not_rejected() -> None:
    ledger, deadline, sink = Ledger(), Deadline(60), _DeliversThenFails(3)
    queue = _queue(sink, ledger, deadline)
    queue.put(_numbered(0, 3))
    while not queue.is_idle:
        time.sleep(0.001)
    deadline.set()
    queue.shutdown()
    assert ledger.totals() == {("test", Outcome.EXPORTED): 1, ("test", Outcome.REJECTED): 2}
