"""Wires a source to its consumers: start, drain, stop, and the balance at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from otel_tcplife.errors import BadUsage
from otel_tcplife.ledger import Ledger
from otel_tcplife.losses import LossWatch
from otel_tcplife.say import Say, Trouble
from otel_tcplife.session import SessionBatch
from otel_tcplife.source import Source
from otel_tcplife.worker import Stop, Worker


class Finishing(Protocol):
    """Something that has last things to do."""

    def finish(self) -> None:
        """Do them, within what the stop has left."""
        ...


@dataclass
class Consumers:
    """Who gets the sessions."""

    inline: list[Callable[[SessionBatch], None]] = field(default_factory=list[Callable[[SessionBatch], None]])
    """Called by the reader itself: they lose nothing, and must be as fast as the ring needs it."""
    workers: list[Worker] = field(default_factory=list[Worker])
    exporting: list[Finishing] = field(default_factory=list[Finishing])
    """What exports by itself what the others have given it, and a last time when these are done."""


def run(source: Source, consumers: Consumers, stop: Stop, ledger: Ledger, say: Say) -> None:
    """Feed the consumers until the source has ended or a stop is asked, then drain all.

    What the source raises ends it, but all that was read is drained before it goes on from here.
    """
    try:
        _read(source, consumers, stop, LossWatch(source.outcomes, ledger, say))
    except BadUsage:  # of a recording, which has nothing to drain
        _finish(consumers, stop)
        raise
    except BaseException:
        with suppress(Exception):  # the first error tells more than what follows from it
            _drain(source, consumers, stop)
        raise
    _drain(source, consumers, stop)


def _drain(source: Source, consumers: Consumers, stop: Stop) -> None:
    stop.ask()
    try:
        _feed(source.drain(), consumers)
    finally:
        _finish(consumers, stop)


def _finish(consumers: Consumers, stop: Stop) -> None:
    stop.ask()
    for finishing in (*consumers.workers, *consumers.exporting):
        finishing.finish()


def _read(source: Source, consumers: Consumers, stop: Stop, losses: LossWatch) -> None:
    while not stop.asked and not source.ended:
        if source.can_wait and not all(worker.has_room for worker in consumers.workers):
            stop.wait(0.01)
            continue
        batch = source.read()
        _feed(batch, consumers)
        losses.look()
        if source.pause:
            stop.wait(source.pause)
    if source.ended and not stop.asked:
        _wait_until_idle(consumers.workers, stop)


class Guarded:
    """Something that is called with each batch, and whose exceptions end nothing."""

    def __init__(self, consume: Callable[[SessionBatch], None], say: Say, what: str) -> None:
        """`what` is what it does, as in "cannot <what>"."""
        self._consume = consume
        self._trouble = Trouble(say, what)

    def __call__(self, batch: SessionBatch) -> None:
        """Call it."""
        try:
            self._consume(batch)
        except Exception as error:  # noqa: BLE001
            self._trouble.began(f"{type(error).__name__}: {error}", f"{len(batch)} sessions are not")
        else:
            self._trouble.over()


def _feed(batch: SessionBatch, consumers: Consumers) -> None:
    if len(batch):
        for consume in consumers.inline:
            consume(batch)
        for worker in consumers.workers:
            worker.put(batch)


def _wait_until_idle(workers: Sequence[Worker], stop: Stop) -> None:
    """A recording that was read to its end is not given up because its receiver is away for a while."""
    while not stop.asked and not all(worker.idle for worker in workers):
        stop.wait(0.02)


def balance(source: Source, ledger: Ledger) -> list[str]:
    """What became of all sessions, in a line each: first in the kernel, then on each way out."""
    ways: dict[str, list[str]] = {}
    for (exporter, outcome), count in ledger.totals().items():
        ways.setdefault(exporter, []).append(f"{count} {outcome.value}")
    told = [f"{count} {outcome}" for outcome, count in source.outcomes().items() if count]
    told += [f"and {source.reports()} interim reports"] if source.reports() else []
    told += [f"and {source.missed()} state changes missed, and made up for"] if source.missed() else []
    lines = {f"{source.seen()} sessions ended": told, **dict(sorted(ways.items()))}
    return [": ".join([what, ", ".join(told)]) if told else what for what, told in lines.items()]
