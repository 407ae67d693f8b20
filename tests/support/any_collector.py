"""The choice of the collector that a test sends to."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from tests.support.collector import Collector, otelcol
from tests.support.own_collector import OwnCollector
from tests.support.rotel import Rotel


def collector_class() -> type[Collector | Rotel | OwnCollector]:
    """The Collector where there is a Go to build it, else Rotel, else receivers of our own, as on arm64.

    Raise RuntimeError where the build fails.
    """
    if otelcol():
        return Collector
    return Rotel if _has_rotel() else OwnCollector


def _has_rotel() -> bool:
    try:
        distribution("rotel")
    except PackageNotFoundError:
        return False
    return True
