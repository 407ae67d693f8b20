"""Every record that a consumer took has one outcome in the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from otel_tcplife.ledger import Ledger, Outcome


def test_records_are_counted_by_consumer_and_outcome() -> None:
    ledger = Ledger()
    assert ledger.totals() == {}
    ledger.count("otlp", Outcome.EXPORTED, 3)
    ledger.count("otlp", Outcome.REJECTED, 1)
    ledger.count("file", Outcome.EXPORTED, 5)
    ledger.count("otlp", Outcome.EXPORTED, 4)
    assert ledger.totals() == {
        ("otlp", Outcome.EXPORTED): 7,
        ("otlp", Outcome.REJECTED): 1,
        ("file", Outcome.EXPORTED): 5,
    }


def test_totals_are_those_of_the_moment() -> None:
    ledger = Ledger()
    ledger.count("otlp", Outcome.EXPORTED, 1)
    before = ledger.totals()
    ledger.count("otlp", Outcome.EXPORTED, 1)
    assert before == {("otlp", Outcome.EXPORTED): 1}


def test_what_is_not_booked_in_the_end_is_unsent() -> None:
    ledger = Ledger()
    ledger.count("otlp", Outcome.EXPORTED, 3)
    ledger.count("otlp", Outcome.REJECTED, 1)
    ledger.count("otlp", Outcome.DROPPED, 2)
    ledger.count("file", Outcome.EXPORTED, 10)
    ledger.settle("otlp", 10)
    assert ledger.totals()["otlp", Outcome.UNSENT] == 4
    assert sum(count for (name, _), count in ledger.totals().items() if name == "otlp") == 10
    assert ("file", Outcome.UNSENT) not in ledger.totals()


def test_without_anything_left_there_is_no_unsent() -> None:
    ledger = Ledger()
    ledger.count("otlp", Outcome.EXPORTED, 3)
    ledger.settle("otlp", 3)
    ledger.settle("file", 0)
    assert ledger.totals() == {("otlp", Outcome.EXPORTED): 3}


def test_a_consumer_that_has_booked_nothing_has_all_unsent() -> None:
    ledger = Ledger()
    ledger.settle("otlp", 7)
    assert ledger.totals() == {("otlp", Outcome.UNSENT): 7}


def test_what_is_booked_after_the_settling_does_not_count_twice() -> None:
    ledger = Ledger()
    ledger.settle("otlp", 7)
    ledger.count("otlp", Outcome.EXPORTED, 7)
    ledger.count("file", Outcome.EXPORTED, 1)
    assert ledger.totals() == {("otlp", Outcome.UNSENT): 7, ("file", Outcome.EXPORTED): 1}


def test_threads_lose_no_counts() -> None:
    ledger = Ledger()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(lambda: [ledger.count("otlp", Outcome.EXPORTED, 1) for _ in range(2000)])
    assert ledger.totals() == {("otlp", Outcome.EXPORTED): 16_000}
