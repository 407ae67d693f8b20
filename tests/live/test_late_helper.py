"""A helper that is not ready in time: the application goes on, and its next start is a quick one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource

from otel_tcplife.errors import CannotTrace
from otel_tcplife.helper import start
from otel_tcplife.helper.start import start_helper


def test_it_compiles_for_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_TCPLIFE_CACHE", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with monkeypatch.context() as impatient:
        impatient.setattr(start, "PATIENCE_OF_APPLICATION", 0.01)
        with pytest.raises(CannotTrace, match="the helper was not ready within 0 s"):
            start_helper({}, Resource({}))
    while not [*tmp_path.glob("*.program")]:
        time.sleep(0.01)
    start_helper({}, Resource({})).begin().stop()
