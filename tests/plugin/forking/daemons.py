"""Applications that go on, or whose children do, when the process that was started has ended."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path

from tests.plugin.forking.steps import end_session, make_session, open_session, tell, wait
from tests.support.bpf_objects import held_by, newest_link


def idle() -> None:
    """Nothing, until all are to end."""
    tell(ready=True)
    wait()


def idle_with_child() -> None:
    """Nothing, with a child that does nothing, and ends as programs do."""
    child = os.fork()
    tell(**{"parent" if child else "child": os.getpid()})
    wait()
    if child:
        os.waitpid(child, 0)


def daemon() -> None:
    """A daemon, forked twice, with a session open that it ends when it may, and makes another."""
    _daemonize(os.close)


def thorough_daemon() -> None:
    """A daemon that closes all descriptors that it does not know, and opens its own."""

    def close_all(_: int) -> None:
        os.closerange(3, 1 << 16)
        opened.update({os.memfd_create(name): name for name in ("first", "second", "third")})

    opened: dict[int, str] = {}
    _daemonize(close_all)
    for descriptor, name in opened.items():
        assert name in os.readlink(f"/proc/self/fd/{descriptor}")


def _daemonize(prepare: Callable[[int], None]) -> None:
    """Go on as a daemon, which may close all and closes at least the descriptor that it is given."""
    make_session()
    prepared, preparing = os.pipe()
    if os.fork():
        os.close(preparing)
        os.read(prepared, 1)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    prepare(preparing)
    client, server = open_session()
    tell(daemon=os.getpid())
    wait()
    end_session(client, server)
    make_session()


def orphans() -> None:
    """Children that go on when this one has ended, each of which makes a session when it may."""
    make_session()
    for _ in range(3):
        if not os.fork():
            tell(orphan=os.getpid())
            wait()
            make_session()
            return


def busy_daemon() -> None:
    """A daemon that forks all through the time in which its tracing begins."""
    if os.fork():
        return
    before = newest_link()
    _fork_when(lambda: _has_child() or bool(held_by(os.getpid())))
    _fork_when(lambda: newest_link() > before)
    _fork_when(lambda: bool(held_by(os.getpid())))
    tell(forked=True)
    _have_sessions()


def _has_child() -> bool:
    """Which compiles the program, unless that is in the cache."""
    return any(children.read_text() for children in Path("/proc/self/task").glob("*/children"))


def _fork_when(reached: Callable[[], bool]) -> None:
    while not reached() and not _all_are_to_end(within=0.001):
        pass
    for _ in range(2):
        if not os.fork():
            _have_sessions()
            os._exit(0)


def _have_sessions() -> None:
    tell(runs=os.getpid())
    while not _all_are_to_end(within=0.5):
        make_session()


def _all_are_to_end(within: float) -> bool:
    return bool(select.select([0], [], [], within)[0])
