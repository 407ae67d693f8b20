"""A source that a thread opens is taken by one, or closed; what opening it raises comes to who takes it."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from otel_tcplife.errors import BadUsage, CannotTrace
from otel_tcplife.probe.live import LiveSource
from otel_tcplife.probe.opening import OpeningSource


class _Source:
    closed = 0

    def close(self) -> None:
        self.closed += 1


def _opening(source: _Source) -> OpeningSource:
    return OpeningSource(lambda: cast(LiveSource, source))


def test_who_takes_it_has_it() -> None:
    source = _Source()
    with _opening(source) as opening:
        taken: Any = opening.take()
        assert taken is source
    assert source.closed == 0


def test_one_that_nobody_takes_is_closed_when_it_is_open() -> None:
    source, may_open = _Source(), threading.Event()

    def open_late() -> LiveSource:
        may_open.wait()
        return cast(LiveSource, source)

    threading.Timer(0.05, may_open.set).start()
    with pytest.raises(BadUsage), OpeningSource(open_late):
        raise BadUsage("an endpoint that is none")
    assert source.closed == 1


def test_what_it_raises_is_raised_where_it_is_taken() -> None:
    def refuse() -> LiveSource:
        raise CannotTrace("no privileges")

    with pytest.raises(CannotTrace, match="no privileges"), OpeningSource(refuse) as opening:
        opening.take()
    with OpeningSource(refuse):
        pass  # it is not taken


def test_where_no_thread_can_be_started_it_is_opened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    source = _Source()
    with _opening(source):
        pass
    assert source.closed == 1
