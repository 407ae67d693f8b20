"""Starting a process, by a thread of its own where there are capabilities to pass on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from otel_tcplife.probe import start_process as module
from otel_tcplife.probe.start_process import start_process, why_not_passed_on

_SAYS_YES = [sys.executable, "-I", "-S", "-c", "print('yes')"]


@pytest.fixture
def raised_in(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads in which capabilities are raised, if there were any to pass on."""
    threads: list[int] = []

    @contextmanager
    def ambient(_capabilities: int) -> Generator[None]:
        threads.append(threading.get_native_id())
        yield

    def one() -> int:
        return 1

    monkeypatch.setattr(module, "ambient", ambient)
    monkeypatch.setattr(module, "_to_pass_on", one)
    return threads


def test_without_any_to_pass_on_it_is_started_as_ever() -> None:
    process = start_process(_SAYS_YES, stdout=subprocess.PIPE)
    assert process.communicate() == (b"yes\n", None)
    assert why_not_passed_on(sys.executable) == ""


def test_with_some_another_thread_starts_it(raised_in: list[int]) -> None:
    process = start_process(_SAYS_YES, stdout=subprocess.PIPE)
    assert process.communicate() == (b"yes\n", None)
    assert raised_in
    assert threading.get_native_id() not in raised_in
    assert not [thread for thread in threading.enumerate() if thread.name == "tcplife-start"]


def test_what_cannot_be_started_is_refused_as_ever(raised_in: list[int]) -> None:
    with pytest.raises(FileNotFoundError):
        start_process(["/nonexistent"])
    assert raised_in


@pytest.mark.usefixtures("raised_in")
def test_where_no_thread_can_be_started_it_is_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert start_process([sys.executable, "-I", "-S", "-c", ""]).wait() == 0
    assert why_not_passed_on(sys.executable) == ""
