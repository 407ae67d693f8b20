"""Where sessions go. A sink says what became of them; the queue before it books that, and nobody else does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.selection import Select
from otel_tcplife.session import SessionBatch


class Sink(Protocol):
    """One way out of the sessions, behind a queue, called by one thread."""

    @property
    def name(self) -> str:
        """Its name in the ledger (`tcplife.exporter`)."""
        ...

    @property
    def task(self) -> str:
        """What it does, as in "cannot <task>"."""
        ...

    @property
    def max_export_batch_size(self) -> int:
        """Sessions in a batch, at most; it may change."""
        ...

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        """Deliver the batch; return what became of its records, each of which is counted once.

        Raise NotNow where not all could be delivered, and what is left may be exported again.
        """
        ...

    def shutdown(self, deadline: Deadline) -> None:
        """Deliver what it holds itself, and give up what it has open. Nothing is exported after that."""
        ...


class OpenSink(Protocol):
    """What counts sessions while they go on."""

    def add_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        """Take in sessions that a scan has found open, as a batch; the last one of a scan may be empty."""
        ...


class InlineSink(OpenSink, Protocol):
    """What gets each batch from the reader itself: it loses nothing, and must be as fast as the ring needs it."""

    def add(self, batch: SessionBatch) -> None:
        """Take a batch in. It must not wait."""
        ...

    def shutdown(self, deadline: Deadline) -> None:
        """Deliver what it holds."""
        ...


class NotNow(Exception):
    """Sessions cannot be delivered at present, such as where the receiver is away."""

    def __init__(
        self,
        reason: str,
        left: SessionBatch,
        after: float | None = None,
        outcomes: Mapping[Outcome, int] = {},
    ) -> None:
        """`left` may be exported again, and `outcomes` are of all others of the batch.

        `after` is how many seconds the receiver asks to wait, None where it does not ask.
        """
        super().__init__(reason)
        self.left = left
        self.reason = reason
        self.after = after
        self.outcomes = outcomes


@dataclass
class Sinks:
    """All that get the sessions of a source."""

    queued: list[Sink] = field(default_factory=list[Sink])
    select: Select | None = None
    """Which sessions those get; without it, all."""
    inline: list[InlineSink] = field(default_factory=list[InlineSink])
    open: list[OpenSink] = field(default_factory=list[OpenSink])
    """Those that get the open sessions alone; inline sinks get them, too."""
    reopen: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Each has files opened anew; a signal's handler may call it."""
    close: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """What is to be closed when all sinks are shut down."""
    table: Sink | None = None
    """What is shown to the user: it has a queue, as it may be slow, but its rows are no telemetry and not booked."""
