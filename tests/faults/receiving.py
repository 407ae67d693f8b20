"""Receivers that know which of the numbered sessions they have acknowledged, and answer as a script has them answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

import grpc
from typing_extensions import Self

from tests.faults.numbered import numbers_in
from tests.support.otlp_receiver import GrpcReceiver, HttpHandler, HttpReceiver, Request

REJECTED_IN_PART = 3
"""How many records of a request are rejected where a part of it is."""

Act = TypeVar("Act")


class Fate(Enum):
    """What becomes of the records of a request that is answered in some way."""

    TAKEN = "taken"
    TAKEN_IN_PART = "taken in part"
    """The first REJECTED_IN_PART are rejected."""
    LATER = "later"
    """The same request is to come again."""
    IN_PARTS = "in parts"
    """Its parts are to come."""
    REJECTED = "rejected"


@dataclass(frozen=True)
class Answering(Generic[Act]):
    """One way to answer."""

    name: str
    act: Act
    fate: Fate
    asked: float = 0.0
    """Seconds after which the request is to come again at the earliest."""


@dataclass
class Happened:
    """A request that was answered in a way of the script."""

    numbers: list[int]
    at: float
    """On time.monotonic()."""
    again_at: float = 0.0
    """When it, or a part of it, came again; 0 where it did not."""


@dataclass
class Script(Generic[Act]):
    """Each request of logs that is new gets the next answer, and all others are acknowledged. Threads may ask."""

    answers: Sequence[Answering[Act]] = ()
    acknowledged: list[int] = field(default_factory=list[int])
    rejected: list[int] = field(default_factory=list[int])
    happened: dict[str, Happened] = field(default_factory=dict[str, Happened])
    """By the name of the answer."""
    away: Act | None = None
    """How all requests of logs are answered while the receiver is away."""
    came_again: int = 0
    """How many requests were acknowledged that had a record which was acknowledged before."""
    _seen: set[int] = field(default_factory=set[int])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_answer(self, body: bytes) -> Answering[Act] | None:
        """How to answer a request of logs with this body, None to acknowledge it."""
        numbers = numbers_in(body)
        with self._lock:
            if self.away:
                return Answering("away", self.away, Fate.LATER)
            earlier = [each for each in self.happened.values() if {*each.numbers} & {*numbers}]
            for each in earlier:
                each.again_at = each.again_at or time.monotonic()
            if earlier or len(self.happened) == len(self.answers):
                self._acknowledge(numbers)
                return None
            answer = self.answers[len(self.happened)]
            self.happened[answer.name] = Happened(numbers, time.monotonic())
            refused = {Fate.TAKEN: 0, Fate.TAKEN_IN_PART: REJECTED_IN_PART, Fate.REJECTED: len(numbers)}
            if answer.fate in refused:
                self.rejected += numbers[: refused[answer.fate]]
                self._acknowledge(numbers[refused[answer.fate] :])
            return answer

    def _acknowledge(self, numbers: list[int]) -> None:
        self.came_again += not self._seen.isdisjoint(numbers)
        self._seen.update(numbers)
        self.acknowledged += numbers

    @property
    def settled(self) -> int:
        """How many records were acknowledged or rejected."""
        return len(self.acknowledged) + len(self.rejected)

    def check(self) -> None:
        """Raise AssertionError where requests did not come again that had to, or did though they must not."""
        assert [*self.happened] == [answer.name for answer in self.answers]
        for answer in self.answers:
            happened = self.happened[answer.name]
            if answer.fate in (Fate.LATER, Fate.IN_PARTS):
                assert happened.again_at, f"{answer.name}: it did not come again"
                assert happened.again_at - happened.at >= answer.asked, f"{answer.name}: it came too soon"
            else:
                assert not happened.again_at, f"{answer.name}: it came again"


HttpAct = Callable[[HttpHandler], None]
GrpcAct = Callable[[grpc.ServicerContext], bytes]


class HttpScripted(HttpReceiver):
    """Answers requests of logs by a script, and takes all metrics."""

    def __init__(self, script: Script[HttpAct]) -> None:
        super().__init__()
        self.script = script
        self.act = self._act

    def take(self, request: Request) -> None:
        """Keep metrics only."""
        if request.signal != "logs":
            super().take(request)

    def hang_up(self) -> None:
        """End all connections there are, as a receiver does that is restarted."""
        for connection in [*self.open_connections]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _act(self, handler: HttpHandler) -> None:
        request = handler.request_got
        answer = self.script.next_answer(request.content) if request.signal == "logs" else None
        (answer.act if answer else HttpHandler.give_answer)(handler)


class GrpcScripted(GrpcReceiver):
    """Answers requests of logs by a script, and takes all metrics."""

    def __init__(self, script: Script[GrpcAct]) -> None:
        super().__init__()
        self.script = script

    def answer_to(self, request: Request, context: grpc.ServicerContext) -> bytes:
        """By the script."""
        answer = self.script.next_answer(request.content) if request.signal == "logs" else None
        return answer.act(context) if answer else b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
