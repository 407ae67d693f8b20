"""The choice of the collector that a test sends to."""

from __future__ import annotations

from tests.support.collector import Collector, otelcol
from tests.support.rotel import Rotel


def collector_class() -> type[Collector | Rotel]:
    """The Collector where there is a Go to build it, else Rotel; RuntimeError where the build fails."""
    return Collector if otelcol() else Rotel
