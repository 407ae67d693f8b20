"""Trouble is told when it begins and when it is over, and never over and over."""

from __future__ import annotations

import time

import pytest

from otel_tcplife.say import Trouble


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


@pytest.mark.usefixtures("now")
def test_once_when_it_begins_and_once_when_it_is_over() -> None:
    said: list[str] = []
    trouble = Trouble(said.append, "export logs")
    trouble.over()
    for _ in range(3):
        trouble.began("refused", "retrying")
    for _ in range(3):
        trouble.over()
    assert said == ["cannot export logs: refused; retrying", "can export logs again"]


def test_a_few_lines_a_minute_and_what_holds_in_the_end(now: list[float]) -> None:
    """A receiver that takes and refuses in turn."""
    said: list[tuple[float, str]] = []
    trouble = Trouble(lambda line: said.append((now[0], line)), "export logs")
    for _ in range(600):
        now[0] += 0.5
        trouble.began("400", "1 rejected")
        now[0] += 0.5
        trouble.over()
    for at, _ in said:
        assert sum(at - 60 < other <= at for other, _ in said) <= 4
    assert len(said) >= 4 * 9
    now[0] += 60
    trouble.over()
    assert said[-1][1] == "can export logs again"
