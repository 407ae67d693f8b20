"""Counts of records by sink and outcome."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from otel_tcplife.pipeline.ledger import Ledger, Outcome


def test_records_are_counted_by_sink_and_outcome() -> None:
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


def test_threads_lose_no_counts() -> None:
    ledger = Ledger()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(lambda: [ledger.count("otlp", Outcome.EXPORTED, 1) for _ in range(2000)])
    assert ledger.totals() == {("otlp", Outcome.EXPORTED): 16_000}
