"""What several tests of recordings ask for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_tcplife.replay.source import REASONS_KEPT, Summary
from otel_tcplife.session import SessionBatch
from tests.unit.replay.reading import ZONE, Replayed, ns, opened, read_all, write


@pytest.fixture(autouse=True, scope="module")
def local_time() -> Iterator[None]:
    """A time zone that sets its clocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", ZONE.key)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(autouse=True)
def lines_may_be_unreadable(logged: list[str]) -> list[str]:
    """What is logged of them is for the tests of the source to look at."""
    return logged


@pytest.fixture
def replayed(tmp_path: Path) -> Replayed:
    """Writes a recording and reads it."""

    def replay_text(text: str | bytes, ended_at: int = ns(2026, 3, 2, 12)) -> tuple[SessionBatch, Summary]:
        source = opened(write(tmp_path / "recording", text, ended_at))
        batch = read_all(source)
        assert len(source.summary.reasons) == min(source.summary.unreadable, REASONS_KEPT)
        assert source.summary.sessions == len(batch)
        return batch, source.summary

    return replay_text


@pytest.fixture
def stdin_pipe() -> Iterator[int]:
    """The end to write to of a pipe that is standard input; the test closes it."""
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(kept, 0)
    os.close(kept)
