"""Requests of one signal to one receiver, each below the size that it takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from otel_tcplife.export.otlp.config import Signal
from otel_tcplife.export.otlp.reply import Permanent, Retryable, Success, TooLarge
from otel_tcplife.export.otlp.request import Request, halves, no_larger_than
from otel_tcplife.export.otlp.transport import Transport
from otel_tcplife.log import logger
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.self_telemetry import ExporterStats

_SHORTEST_TIMEOUT = 0.5
"""Seconds, once the deadline is over: what is sent at all has to have a chance."""


@dataclass(frozen=True)
class Settled:
    """What became of items that follow one another."""

    items: int
    rejected: int
    """How many of them the receiver has rejected."""
    was_taken: bool
    """Whether it took the request that they were in, though it may have rejected some of them."""


@dataclass
class Sent:
    """What became of requests."""

    settled: list[Settled] = field(default_factory=list[Settled])
    """Of the items from the first one on, in order."""
    rest: Iterable[Request] = ()
    """What the receiver may take later: all that is not settled, in order, some of which may have yet to be made."""
    later: Retryable | None = None
    """Why, where something is left."""
    why_rejected: str = ""
    """What the receiver said last of items that it rejected."""

    @cached_property
    def left(self) -> list[Request]:
        """What the receiver may take later, all of it made."""
        return [*self.rest]

    @property
    def failure(self) -> str:
        """Why not all was taken, or nothing."""
        if self.later:
            return self.later.reason
        return (self.why_rejected or "no reason given") if self.rejected else ""

    @property
    def taken(self) -> int:
        """Items that the receiver took."""
        return sum(each.items - each.rejected for each in self.settled)

    @property
    def rejected(self) -> int:
        """Items that the receiver rejected for good."""
        return sum(each.rejected for each in self.settled)


@dataclass(frozen=True)
class SendLimits:
    """Of one sending."""

    timeout: float
    """Seconds."""
    most_bytes: int
    """Of a request before compression."""


class Sender:
    """Sends requests, and remembers the size of those that the receiver takes. One thread at a time calls it."""

    def __init__(
        self,
        transport: Transport,
        signal: Signal,
        deadline: Deadline,
        limits: SendLimits,
        receiver: str,
        stats: ExporterStats,
    ) -> None:
        """`receiver` is for the eyes of the user; `stats` is written to."""
        self._stats = stats
        self._transport = transport
        self._signal: Signal = signal
        self._deadline = deadline
        self._timeout = limits.timeout
        self._receiver = receiver
        self.most_bytes = limits.most_bytes
        """Bytes in a request before compression; fewer where the receiver took no more."""

    def send(self, requests: Iterable[Request]) -> Sent:
        """Send the requests in order, each once, up to the first one that the receiver may take later.

        Each is asked for when the one before has been sent, so that they may be made meanwhile.
        """
        sent = Sent()
        coming = iter(requests)
        before = self.most_bytes
        for request in coming:
            self._stats.begin(request.items)
            waiting = deque(no_larger_than(self.most_bytes, request, self._signal))
            while waiting and not sent.later:
                self._send_first(waiting, sent, before)
            if sent.later:
                sent.rest = chain(waiting, coming)
                break
        if self.most_bytes < before:
            logger.warning(
                "%s takes no larger requests than %d bytes of %s; they are made smaller from now on",
                self._receiver, self.most_bytes, self._signal,
            )  # fmt: skip
        self._stats.end(sent.taken, sent.rejected, is_over=sent.later is None)
        return sent

    def _send_first(self, waiting: deque[Request], sent: Sent, most_bytes: int) -> None:
        """Send the first of these requests; it is left there where the receiver may take it later.

        `most_bytes` is what the receiver took before.
        """
        if sent.settled and not self._deadline.remaining:  # what is sent now would not be booked in time
            sent.later = Retryable("the time to deliver is over")
            return
        request = waiting[0]
        timeout = min(self._timeout, max(self._deadline.remaining, _SHORTEST_TIMEOUT))
        reply = self._transport.send(request.body, timeout)
        if isinstance(reply, Retryable):
            sent.later = reply
            return
        waiting.popleft()
        if isinstance(reply, TooLarge) and request.items > 1:
            self.most_bytes = min(self.most_bytes, max(len(request.body) // 2, 1))
            waiting.extendleft(reversed(halves(request, self._signal)))
            return
        if isinstance(reply, TooLarge):
            self.most_bytes = most_bytes  # It is this item that is too large, or nothing is small enough
        self._settle(sent, request, reply)

    def close(self) -> None:
        """Give the connection up."""
        self._transport.close()

    def _settle(self, sent: Sent, request: Request, reply: Success | TooLarge | Permanent) -> None:
        if isinstance(reply, Success):
            rejected = min(reply.rejected, request.items)
            sent.settled.append(Settled(request.items, rejected, was_taken=True))
            sent.why_rejected = reply.message if rejected else sent.why_rejected
        else:
            sent.settled.append(Settled(request.items, request.items, was_taken=False))
            sent.why_rejected = reply.reason
