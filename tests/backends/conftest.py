"""The stores, and real sessions to put into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.elsewhere import Elsewhere, network_elsewhere
from tests.support.victoria import VictoriaLogs, VictoriaMetrics, victoria_logs, victoria_metrics

NO_GO = "there is no Go new enough to build this store with: go.mod of its release says which"


@pytest.fixture
def metrics_store(tmp_path: Path) -> Iterator[VictoriaMetrics]:
    """VictoriaMetrics, empty."""
    binary = victoria_metrics()
    if binary is None:
        pytest.skip(NO_GO)
    with VictoriaMetrics(binary, tmp_path / "victoria-metrics") as store:
        yield store


@pytest.fixture
def logs_store(tmp_path: Path) -> Iterator[VictoriaLogs]:
    """VictoriaLogs, empty."""
    binary = victoria_logs()
    if binary is None:
        pytest.skip(NO_GO)
    with VictoriaLogs(binary, tmp_path / "victoria-logs") as store:
        yield store


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Sessions that are not on loopback."""
    with network_elsewhere() as made:
        yield made
