"""What is lost is told while it is lost."""

from __future__ import annotations

import pytest

from otel_tcplife.pipeline import losses
from otel_tcplife.pipeline.ledger import Ledger, Outcome
from otel_tcplife.pipeline.losses import LossWatch
from otel_tcplife.pipeline.source import Stats


def test_each_loss_is_logged_when_it_begins_with_what_helps_and_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    monkeypatch.setattr(losses, "_LOOK_EVERY", 0.0)
    outcomes = {"submitted": 0, "ring_full": 0, "map_full": 0}
    ledger = Ledger()
    watch = LossWatch(lambda: Stats(outcomes, seen=0), ledger)
    watch.look()
    assert logged == []
    outcomes.update(submitted=100, ring_full=7, map_full=3)
    ledger.count("otlp", Outcome.EXPORTED, 5)
    ledger.count("otlp", Outcome.DROPPED, 2)
    watch.look()
    assert len(logged) == 3
    ring, flows, queue = logged
    assert "7 lost" in ring
    assert "OTEL_PYTHON_TCPLIFE_RING_BYTES" in ring
    assert "3 lost" in flows
    assert "OTEL_PYTHON_TCPLIFE_MAX_SESSIONS" in flows
    assert "cannot hand all sessions to otlp: 2 lost" in queue
    outcomes.update(ring_full=8)
    watch.look()
    assert logged[3:] == ["can follow all sessions that are open again", "can hand all sessions to otlp again"]
    watch.look()
    assert logged[5:] == ["can read all sessions in time again"]


def test_it_looks_now_and_then_only() -> None:
    looks = 0

    def stats() -> Stats:
        nonlocal looks
        looks += 1
        return Stats({}, seen=0)

    watch = LossWatch(stats, Ledger())
    for _ in range(1000):
        watch.look()
    assert looks == 0
