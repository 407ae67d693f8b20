"""A thread that hands sessions to one consumer, with a bounded queue, so that no consumer holds up the ring."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from otel_tcplife.ledger import Ledger, Outcome
from otel_tcplife.say import Say, Trouble
from otel_tcplife.session import SessionBatch, concatenated

QUEUE_RECORDS = 65536
"""Sessions that may wait for one consumer, of about 200 bytes each."""

STOP_WITHIN = 3.5
"""Seconds in which the agent drains everything once a stop is asked."""

Consume = Callable[[SessionBatch], None]


class Stop:
    """When everything has to end: unset while running, then the time that is left to finish in.

    A signal's handler may ask, whatever the thread that it interrupts is at: threading.Event would wait for itself.
    """

    def __init__(self, within: float = STOP_WITHIN) -> None:
        self._asked = False
        self._changed = threading.Condition(threading.RLock())
        self._within = within
        self._deadline = float("inf")

    def ask(self) -> None:
        """Ask all to finish in that time."""
        with self._changed:
            if not self._asked:
                self._deadline = time.monotonic() + self._within
                self._asked = True
                self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is asked; say whether it is."""
        with self._changed:
            if not self._asked:
                self._changed.wait(seconds)
            return self._asked

    @property
    def asked(self) -> bool:
        """Whether it is time to finish."""
        return self._asked

    @property
    def left(self) -> float:
        """Seconds until all must have ended; infinite while nobody has asked, never negative."""
        return max(self._deadline - time.monotonic(), 0.0)


class Worker:
    """Feeds batches of up to `most` sessions to `consume`, `linger` seconds after the first of them at the latest.

    Sessions that find the queue full are dropped, and counted. `consume` books what becomes of those that it gets; what
    it has not booked in the end is unsent. Where it raises an exception, the rest of its batch is rejected, and the
    next batch is fed: a thread that ended here would have all others wait for it, or lose all that is to come.
    """

    def __init__(
        self,
        name: str,
        consume: Consume,
        ledger: Ledger,
        stop: Stop,
        say: Say,
        *,
        most: int,
        linger: float,
        capacity: int = QUEUE_RECORDS,
    ) -> None:
        self.name = name
        self._consume = consume
        self._ledger = ledger
        self._stop = stop
        self._trouble = Trouble(say, f"handle sessions for {name}")
        self._most = most
        self._linger = linger
        self._capacity = capacity
        self._queue: deque[SessionBatch] = deque()
        self._taken = 0
        self._waiting = 0
        self._in_hand = 0
        self._all_put = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"tcplife-{name}", daemon=True)
        self._thread.start()

    def put(self, batch: SessionBatch) -> None:
        """Queue a batch, or as much of it as there is room for. Does not wait."""
        with self._changed:
            self._taken += len(batch)
            room = max(self._capacity - self._waiting, 0)
            taken = batch[:room]
            if len(taken):
                self._queue.append(taken)
                self._waiting += len(taken)
                self._changed.notify()
        if len(taken) < len(batch):
            self._ledger.count(self.name, Outcome.DROPPED, len(batch) - len(taken))

    @property
    def has_room(self) -> bool:
        """Whether half of the queue is free."""
        return self._waiting <= self._capacity // 2

    @property
    def idle(self) -> bool:
        """Whether all that came has been consumed."""
        return not self._waiting and not self._in_hand

    def finish(self) -> None:
        """After a stop was asked: return when all is consumed, or when the time is up; what is left is then unsent."""
        with self._changed:
            self._all_put = True  # a stop that was asked is too early to end at: what is drained then comes after it
            self._changed.notify()
        self._thread.join(self._stop.left)
        self._ledger.settle(self.name, self._taken)

    def _run(self) -> None:
        while len(batch := self._next()):
            handled = self._ledger.handled(self.name)
            try:
                self._consume(batch)
                self._trouble.over()
            except Exception as error:  # noqa: BLE001
                rest = len(batch) - (self._ledger.handled(self.name) - handled)
                self._trouble.began(f"{type(error).__name__}: {error}", f"{rest} rejected")
                self._ledger.count(self.name, Outcome.REJECTED, rest)
            self._in_hand = 0

    def _next(self) -> SessionBatch:
        """The next batch, empty when there will be none."""
        with self._changed:
            while not self._queue and not self._all_put:
                self._changed.wait()
            until = time.monotonic() + self._linger
            while self._waiting < self._most and not self._stop.asked and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.5))
            taken: list[SessionBatch] = []
            room = self._most
            while room and self._queue:
                batch = self._queue.popleft()
                if len(batch) > room:
                    self._queue.appendleft(batch[room:])
                taken.append(batch[:room])
                room -= len(taken[-1])
            self._in_hand = self._most - room
            self._waiting -= self._in_hand
        return concatenated(taken)
