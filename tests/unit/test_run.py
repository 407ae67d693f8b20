"""Reading and draining, when a source or a consumer fails."""

from __future__ import annotations

import pytest

from otel_tcplife.agent import Consumers, Guarded, run
from otel_tcplife.errors import BadUsage
from otel_tcplife.ledger import Ledger, Outcome
from otel_tcplife.session import SessionBatch, empty
from otel_tcplife.worker import Stop, Worker


class _Source:
    """Two batches of 5, then an exception or the end; one more session when it is drained, or an exception."""

    pause = 0.0
    can_wait = False

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

    def outcomes(self) -> dict[str, int]:
        return {}

    def seen(self) -> int:
        return 0

    reports = missed = active = seen

    def close(self) -> None: ...


class _Run:
    """A source, with a consumer that counts."""

    def __init__(self, source: _Source) -> None:
        self.source, self.ledger, self.stop = source, Ledger(), Stop()
        worker = Worker("test", self._count, self.ledger, self.stop, pytest.fail, most=4, linger=0)
        self.consumers = Consumers(workers=[worker])

    def _count(self, batch: SessionBatch) -> None:
        self.ledger.count("test", Outcome.EXPORTED, len(batch))

    def run(self) -> None:
        run(self.source, self.consumers, self.stop, self.ledger, pytest.fail)

    @property
    def exported(self) -> int:
        [((_, outcome), count)] = self.ledger.totals().items()
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


def test_what_counts_in_the_metrics_ends_nothing_when_it_fails() -> None:
    one, said, got = _Run(_Source(None)), list[str](), list[int]()

    def fails(_batch: SessionBatch) -> None:
        raise ZeroDivisionError("made up")

    one.consumers.inline += [
        Guarded(fails, said.append, "count sessions"),
        Guarded(lambda batch: got.append(len(batch)), pytest.fail, "count sessions"),
    ]
    one.run()
    assert one.exported == sum(got) == 11
    assert said == ["cannot count sessions: ZeroDivisionError: made up; 5 sessions are not"]
