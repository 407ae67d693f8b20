"""The counters beside the histograms: sessions open, what became of each session in the kernel and of each record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from otel_tcplife.conventions import ACTIVE, EXPORT_RECORDS, EXPORTER, OUTCOME, PROBE_SESSIONS, CounterMetric
from otel_tcplife.ledger import Ledger
from otel_tcplife.session import LARGEST_INTEGER

Totals = Callable[[], Sequence[tuple[Mapping[str, str], int]]]
"""The current value of a counter for each of its attribute sets, counted from the start."""


def counters(
    outcomes: Callable[[], Mapping[str, int]], active: Callable[[], int], ledger: Ledger
) -> dict[CounterMetric, Totals]:
    """Each counter of the contract, from the source's balance and the ledger of what came after."""
    return {
        ACTIVE: lambda: _sayable([({}, active())]),
        PROBE_SESSIONS: lambda: _sayable([({OUTCOME: outcome}, count) for outcome, count in outcomes().items()]),
        EXPORT_RECORDS: lambda: _sayable(
            [
                ({EXPORTER: exporter, OUTCOME: outcome.value}, count)
                for (exporter, outcome), count in ledger.totals().items()
            ]
        ),
    }


def _sayable(values: list[tuple[dict[str, str], int]]) -> list[tuple[dict[str, str], int]]:
    """Those that OTLP's integers can hold; what the kernel gives are 64 bits without a sign."""
    return [(attributes, count) for attributes, count in values if abs(count) <= LARGEST_INTEGER]
