"""FailureLog is told when it begins and when it is over, and never over and over."""

from __future__ import annotations

import time

import pytest

from otel_tcplife.pipeline.failure_log import FailureLog


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


@pytest.mark.usefixtures("now")
def test_once_when_it_begins_and_once_when_it_is_over(logged: list[str]) -> None:
    failures = FailureLog("export logs")
    failures.recovered()
    for _ in range(3):
        failures.failed("refused", "retrying")
    for _ in range(3):
        failures.recovered()
    assert logged == ["cannot export logs: refused; retrying", "can export logs again"]


def test_a_few_lines_a_minute_and_what_holds_in_the_end(now: list[float], logged: list[str]) -> None:
    """A receiver that takes and refuses in turn."""
    failures = FailureLog("export logs")
    at: list[float] = []
    for _ in range(600):
        for change in (lambda: failures.failed("400", "1 rejected"), failures.recovered):
            now[0] += 0.5
            change()
            at += [now[0]] * (len(logged) - len(at))
    assert all(sum(each - 60 < other <= each for other in at) <= 4 for each in at)
    assert len(logged) >= 4 * 9
    now[0] += 60
    failures.recovered()
    assert logged[-1] == "can export logs again"
