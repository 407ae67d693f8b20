"""The ring is read seldom while little comes, and before it fills up while much does."""

from __future__ import annotations

import time

import pytest

from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.probe import pace
from otel_tcplife.probe.pace import Pace


class _Waiting(Deadline):
    """Notes how long it is waited for, and waits no time."""

    def __init__(self) -> None:
        super().__init__(0)
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False


@pytest.mark.parametrize(("room", "pause"), [(100, 0.05), (30_000, 0.075), (1_000_000, 0.2)])
def test_what_a_burst_may_fill(room: int, pause: float) -> None:
    """Of the smallest rings it cannot be kept that they fill up within the shortest time."""
    deadline = _Waiting()
    paced = Pace(-1, room, in_application=True)
    paced.wait(deadline)
    assert deadline.waits == [paced.pause] == [pause]


def test_the_faster_it_fills_the_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    paced = Pace(-1, 1_000_000, in_application=True)
    pauses: list[float] = []
    for passed, fill in ((0.2, 0.05), (0.2, 0.5), (0.04, 0.2), (0.02, 0.1), (0.2, 0.0)):
        now += passed
        paced.has_read(fill, 0)
        pauses.append(paced.pause)
    assert pauses == pytest.approx([0.2, 0.04, 0.02, 0.02, 0.2])


def test_who_is_woken_again_and_again_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    comes = iter([True, True, True, False, True])
    asked: list[float] = []

    class Wakeups:
        def __init__(self, ring_fd: int) -> None:
            assert ring_fd == 7

        def wait(self, seconds: float, deadline: Deadline) -> bool:
            asked.append(seconds)
            return next(comes)

    monkeypatch.setattr(pace, "Wakeups", Wakeups)
    deadline = _Waiting()
    paced = Pace(7, 30_000, in_application=False)
    for _ in range(5):
        paced.wait(deadline)
    assert deadline.waits == [paced.pause] * 2
    assert asked == pytest.approx([0.2, 0.2, 0.2 - paced.pause, 0.2 - paced.pause, 0.2])
    paced.has_read(0.9, 0.3)
    paced.wait(deadline)
    assert deadline.waits[2:] == [paced.pause]
    assert len(asked) == 5
