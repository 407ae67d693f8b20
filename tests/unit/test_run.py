"""Reading and draining, when a source or a consumer fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.host import UNKNOWN_HOST
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Ledger, Outcome
from otel_tcplife.pipeline.limits import COMMAND
from otel_tcplife.pipeline.queue import SinkQueue
from otel_tcplife.pipeline.run import Pipeline
from otel_tcplife.pipeline.sink import InlineSink, Sinks
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.session import SessionBatch, empty


class _Source:
    """Two batches of 5, then an exception or the end; one more session when it is drained, or an exception."""

    def wait(self, deadline: Deadline) -> None:
        pass

    can_wait = False
    host = UNKNOWN_HOST

    def __init__(self, error: Exception | None, error_in_drain: Exception | None = None) -> None:
        self.ended = False
        self._error = error
        self._error_in_drain = error_in_drain
        self._reads = 0

    def read(self) -> SessionBatch:
        self._reads += 1
        if self._reads <= 2:
            return empty(5)
        if self._error:
            raise self._error
        self.ended = True
        return empty(0)

    def drain(self) -> SessionBatch:
        if self._error_in_drain:
            raise self._error_in_drain
        return empty(1)

    wants_scan = False

    def open_sessions(self) -> Iterator[SessionBatch]:
        return iter(())

    def stats(self) -> Stats:
        return Stats({}, seen=0)

    def close(self) -> None: ...


class _Counting:
    """A sink that counts."""

    name = "test"
    task = "test"
    max_export_batch_size = 4

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        return {Outcome.EXPORTED: len(batch)}

    def shutdown(self, deadline: Deadline) -> None: ...


class _Adding:
    """An inline sink that adds up, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.added = 0
        self._error = error

    def add(self, batch: SessionBatch) -> None:
        if self._error:
            raise self._error
        self.added += len(batch)

    def add_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        self.add(batch)

    def shutdown(self, deadline: Deadline) -> None:
        if self._error:
            raise self._error


class _Run:
    """A source, with a sink that counts."""

    def __init__(self, source: _Source, *inline: InlineSink, sinks: Sinks | None = None) -> None:
        self._ledger = Ledger()
        sinks = sinks or Sinks(queued=[_Counting()], inline=[*inline])
        limits = replace(COMMAND, schedule_delay=0)
        self.pipeline = Pipeline(source, sinks, self._ledger, Deadline(3.5), limits)

    def run(self) -> None:
        self.pipeline.run()

    @property
    def outcomes(self) -> dict[Outcome, int]:
        return {outcome: count for (_, outcome), count in self._ledger.totals().items()}

    @property
    def exported(self) -> int:
        [((_, outcome), count)] = self._ledger.totals().items()
        assert outcome is Outcome.EXPORTED
        return count


def test_all_is_drained() -> None:
    one = _Run(_Source(None))
    one.run()
    assert one.exported == 11


@pytest.mark.parametrize(
    ("error", "in_drain", "exported"),
    [
        (OverflowError("made up"), None, 11),
        (OSError(5, "made up"), None, 11),
        (MemoryError(), OSError(5, "follows from it"), 10),
        (BadUsage("no recording", "record it"), None, 10),
        (None, OSError(5, "made up"), 10),
    ],
)
def test_what_was_read_before_the_source_failed_is_delivered(
    error: Exception | None, in_drain: Exception | None, exported: int
) -> None:
    one = _Run(_Source(error, in_drain))
    expected = error or in_drain
    assert expected
    with pytest.raises(type(expected)):
        one.run()
    assert one.exported == exported


class _Table(_Counting):
    """What counts beside the ledger, as the table has none."""

    def __init__(self) -> None:
        self.rows = 0

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        self.rows += len(batch)
        return super().export(batch)


def test_what_is_not_selected_is_counted_for_each_sink_and_is_in_the_metrics_and_the_table() -> None:
    metrics, table = _Adding(), _Table()
    sinks = Sinks([_Counting(), _Counting()], lambda batch: batch[:2], inline=[metrics], table=table)
    one = _Run(_Source(None), sinks=sinks)
    one.run()
    # 2 of 5, 2 of 5, 1 of 1, in each of the two
    assert one.outcomes == {Outcome.EXPORTED: 2 * 5, Outcome.UNSELECTED: 2 * 6}
    assert metrics.added == table.rows == 11


def test_what_is_not_selected_takes_up_no_room() -> None:
    queue = SinkQueue(_Counting(), ledger := Ledger(), Deadline(3.5), replace(COMMAND, max_queue_size=4))
    for _ in range(1000):
        queue.put(empty(0), unselected=99)
    assert queue.size == 0
    queue.put(empty(4), unselected=96)
    assert ledger.totals()["test", Outcome.UNSELECTED] == 99_096
    assert ("test", Outcome.DROPPED) not in ledger.totals()


def test_what_counts_in_the_metrics_ends_nothing_when_it_fails(logged: list[str]) -> None:
    adding = _Adding()
    one = _Run(_Source(None), _Adding(ZeroDivisionError("made up")), adding)
    one.run()
    assert one.exported == adding.added == 11
    assert logged == ["cannot count sessions in the metrics: ZeroDivisionError: made up; 5 sessions are not"]
