"""Forks of this process by threads of its application, while threads of ours are at work.

A child has none of those threads, but whatever they held: what must not be found halfway done there, or locked for
ever, is done with forks held off.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

_PATIENCE = 1.0
"""Seconds that a fork waits at most, and the next ones not at all: a processor of the application may hang."""

_at_work = threading.RLock()  # an application may fork within what we call
_forking = threading.local()
_hangs = False


def uwsgi_is_to_fork() -> bool:
    """Whether this is a uWSGI that has yet to fork the process that the application runs in.

    It forks in C, without what Python does then: a child inherits the locks that threads of ours hold, and the threads
    are not there to let them go. The module uwsgi is there when it loads the application, not when Python starts.
    """
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None:
        worker_id: Callable[[], int] | None = getattr(uwsgi, "worker_id", None)
        return worker_id is not None and worker_id() == 0
    # As a module of Python (pyuwsgi), it is the program that Python runs
    programs = (sys.executable, *sys.orig_argv[:2])
    return any(os.path.basename(program or "") in ("uwsgi", "pyuwsgi") for program in programs)


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
