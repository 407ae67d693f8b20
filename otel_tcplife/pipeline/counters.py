"""The counters beside the histograms: sessions open, what became of each session in the kernel and of each record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from otel_tcplife.instruments import ACTIVE, EXPORT_RECORDS, EXPORTER, OUTCOME, PROBE_SESSIONS, CounterMetric
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.session import LARGEST_INTEGER

Totals = Callable[[], Sequence[tuple[Mapping[str, str], float]]]
"""The current value of a counter for each of its attribute sets, counted from the start."""


def counters(stats: Callable[[], Stats], ledger: Ledger) -> dict[CounterMetric, Totals]:
    """Each counter of the contract, from the source's balance and the ledger of what came after."""
    return {
        ACTIVE: lambda: _representable([({}, stats().active)]),
        PROBE_SESSIONS: lambda: _representable(
            [({OUTCOME: outcome}, count) for outcome, count in stats().outcomes.items()]
        ),
        EXPORT_RECORDS: lambda: _representable(
            [({EXPORTER: sink, OUTCOME: outcome.value}, count) for (sink, outcome), count in ledger.totals().items()]
        ),
    }


def _representable(values: list[tuple[dict[str, str], int]]) -> list[tuple[dict[str, str], int]]:
    """Those that OTLP's integers can hold; what the kernel gives are 64 bits without a sign."""
    return [(attributes, count) for attributes, count in values if abs(count) <= LARGEST_INTEGER]
