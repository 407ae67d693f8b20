"""Applications of a user who is not root, with capabilities: they trace, and keep and pass on what they had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from otel_tcplife.capabilities import LOADING
from tests.plugin.traced import Receiver, Traced, differences, wait_until
from tests.support.for_all_users import as_nobody, python_with_capabilities
from tests.support.helpers import helpers_of, wait_until_ended
from tests.support.thread_status import threads_of

_FORKING = ("-m", "tests.plugin.forking_main")
_NAMES = "+bpf,+perfmon"
_AMBIENT = ["--no-new-privs", f"--inh-caps={_NAMES}", f"--ambient-caps={_NAMES}"]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as receiver:
        yield receiver


def _of_file(stack: ExitStack) -> dict[str, Any]:
    return {"within": as_nobody(), "python": stack.enter_context(python_with_capabilities(LOADING))}


def _of_closed_file(stack: ExitStack) -> dict[str, Any]:
    """One that cannot be read, so that no process that runs it is dumpable, and its files in /proc are root's."""
    place = _of_file(stack)
    place["python"].chmod(0o711)
    return place


def _of_unit(_: ExitStack) -> dict[str, Any]:
    """As AmbientCapabilities= and NoNewPrivileges= give them."""
    return {"within": as_nobody(*_AMBIENT)}


@pytest.mark.parametrize("export", ["auto", "providers"])
@pytest.mark.parametrize("given", [_of_file, _of_closed_file, _of_unit])
def test_an_application_with_capabilities_is_traced(given: Any, export: str, receiver: Receiver) -> None:
    """All that it forks, too; its threads have what they had, and so has a program that it starts later."""
    with ExitStack() as stack:
        place = given(stack)
        app = stack.enter_context(Traced(*_FORKING, "children", receiver=receiver, export=export, **place))
        wait_until(lambda: app.ends(), lambda: f"{app.said}")
        helpers = helpers_of(app.pid)
        assert len(helpers) == (export == "auto")
        [threads] = {*threads_of(app.pid)}
        assert {threads.permitted, threads.effective} == {LOADING}
        assert {threads.inheritable, threads.ambient} == ({LOADING} if given is _of_unit else {0})
        assert threads.uids == (65534,) * 4
        assert app.end() == 0
        for helper in helpers:
            wait_until_ended(helper)
        assert not app.said
        assert differences(app.ends(), receiver.ends()) == ([], [])


_REFUSED: dict[str, tuple[list[str], Mapping[str, str], str]] = {
    "a user namespace": ([*as_nobody(), "unshare", "--user", "--map-root-user"], {}, "outside of the user namespace"),
    "no_new_privs": (as_nobody("--no-new-privs"), {}, "do not count with no_new_privs"),
}


@pytest.mark.parametrize("export", ["auto", "providers"])
@pytest.mark.parametrize("place", _REFUSED)
def test_capabilities_that_do_not_count_are_one_line(place: str, export: str, receiver: Receiver) -> None:
    within, environ, remedy = _REFUSED[place]
    with (
        python_with_capabilities(LOADING) as python,
        Traced(
            *_FORKING, "children", receiver=receiver, export=export, within=within, environ=environ, python=python
        ) as app,
    ):
        assert app.end() == 0
    [line] = app.said
    assert "may not load BPF programs" in line
    assert remedy in line
