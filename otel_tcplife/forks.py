"""Forks of this process by threads of its application, while threads of ours are at work.

A child has none of those threads, but whatever they held: what must not be found halfway done there, or locked for
ever, is done with forks held off.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager

_PATIENCE = 1.0
"""Seconds that a fork waits at most, and the next ones not at all: a processor of the application may hang."""

_at_work = threading.RLock()  # an application may fork within what we call
_forking = threading.local()
_hangs = False


@contextmanager
def held_off() -> Generator[None]:
    """Have no other thread fork, for a short time."""
    lock = _at_work
    with lock:
        yield


def _before() -> None:
    global _hangs
    _forking.has_waited = _at_work.acquire(timeout=0 if _hangs else _PATIENCE)
    _hangs = not _forking.has_waited


def _in_parent() -> None:
    if _forking.has_waited:
        _at_work.release()


def _in_child() -> None:
    global _at_work, _hangs
    _at_work, _hangs = threading.RLock(), False


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
