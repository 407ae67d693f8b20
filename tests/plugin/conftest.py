"""What all applications of these tests have."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def forks_with_threads_are_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.12 and newer warn of them, on standard error; the SDK has threads, and so have we."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:This process:DeprecationWarning")
