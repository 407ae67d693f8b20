"""The Collector of collector-config/fleet/."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.collector import FLEET, otelcol


@pytest.fixture(scope="session")
def fleet_collector() -> Path:
    """Its binary; it is a failure here where that cannot be built."""
    binary = otelcol(FLEET / "manifest.yaml")
    assert binary
    return binary
