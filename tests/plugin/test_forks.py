"""Of scope process, each end of each session is reported once, whoever traces it, and nothing stays behind.

What the applications do stands in forking/.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.plugin.traced import Receiver, Traced, differences, wait_until
from tests.support.bpf_objects import traces, wait_until_gone

_FORKING = ("-m", "tests.plugin.forking_main")

_NO_PRIVILEGES = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-bpf,-perfmon,-sys_admin"]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as receiver:
        yield receiver


class _Server(socketserver.ThreadingTCPServer):
    """Reads what its clients send, to the end."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read()

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Handler)


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _tracing(app: Traced) -> set[int]:
    """The processes that traced themselves. What they fork has a map, to announce its connections in."""
    return {told["pid"] for told in app.told if any(kind == "link" for kind, _ in told.get("bpf", ()))}


def _run(name: str, receiver: Receiver) -> Traced:
    """An application that has ended, and left nothing."""
    with Traced(*_FORKING, name, receiver=receiver) as app:
        assert app.end() == 0
    assert not app.said
    wait_until_gone(app.bpf())
    return app


def _assert_each_is_reported_once(app: Traced, receiver: Receiver) -> None:
    assert differences(app.ends(), receiver.ends()) == ([], [])
    found_open = [log.body for log in receiver.logs() if "tcplife.session.duration" not in log.attributes]
    assert not found_open  # all were seen from their beginning


@pytest.mark.parametrize("name", ["children", "child_that_returns", "killed", "multiprocessing_fork", "unjoined"])
def test_what_a_process_forks_is_traced_by_it(name: str, receiver: Receiver) -> None:
    app = _run(name, receiver)
    assert {end.pid for end in app.ends()} - {app.pid}
    assert _tracing(app) == {app.pid}
    _assert_each_is_reported_once(app, receiver)


@pytest.mark.parametrize(("name", "processes"), [("multiprocessing_spawn", 4), ("python_child", 2)])
def test_a_python_process_that_is_executed_traces_itself(name: str, processes: int, receiver: Receiver) -> None:
    app = _run(name, receiver)
    assert _tracing(app) == {end.pid for end in app.ends()}
    assert len(_tracing(app)) in (processes - 1, processes)  # one of the pool's two may do all
    _assert_each_is_reported_once(app, receiver)


def test_what_a_forkserver_forks_is_traced_by_it(receiver: Receiver) -> None:
    app = _run("multiprocessing_forkserver", receiver)
    assert len({end.pid for end in app.ends()}) in (3, 4)
    assert _tracing(app) == {app.pid}
    _assert_each_is_reported_once(app, receiver)


def test_a_program_that_is_no_python_is_not_traced(receiver: Receiver) -> None:
    app = _run("other_child", receiver)
    [port] = app.all_told("port")
    [end] = receiver.ends()
    assert (end.pid, end.role, end.local_port) == (app.pid, "server", port)


def test_a_program_that_inherits_all_descriptors_keeps_no_bpf_program(receiver: Receiver) -> None:
    with Traced(*_FORKING, "left_behind", receiver=receiver) as app:
        assert app.wait() == 0
        [child] = app.wait_for("child")
        assert Path(f"/proc/{child}/exe").readlink().name == "cat"
        wait_until_gone(app.bpf())
    _assert_each_is_reported_once(app, receiver)


@pytest.mark.parametrize("name", ["daemon", "thorough_daemon"])
def test_a_daemon_traces_itself_when_the_process_that_traced_it_has_ended(name: str, receiver: Receiver) -> None:
    with Traced(*_FORKING, name, receiver=receiver) as app:
        assert app.wait() == 0
        wait_until_gone(app.bpf())
        [daemon] = app.wait_for("daemon")
        _wait_until_all_trace([daemon], app)
        app.go()
        app.wait_for("done", 2)
    wait_until_gone(app.bpf())
    assert not app.said
    assert differences(app.ends(), receiver.ends()) == ([], [])
    found_open = [log for log in receiver.logs() if "tcplife.session.duration" not in log.attributes]
    assert [log.attributes["process.pid"] for log in found_open] == [daemon, daemon]


def _wait_until_all_trace(processes: Iterable[int], app: Traced) -> None:
    wait_until(lambda: all(map(traces, processes)), lambda: f"not all of {processes} trace: {app.said}")


def test_each_of_several_children_traces_itself_when_the_process_that_traced_them_has_ended(receiver: Receiver) -> None:
    with Traced(*_FORKING, "orphans", receiver=receiver) as app:
        orphans = app.wait_for("orphan", 3)
        _wait_until_all_trace(orphans, app)
        for _ in orphans:
            app.go()
        app.wait_for("done", 4)
    wait_until_gone(app.bpf())
    assert not app.said
    assert _tracing(app) == {app.pid, *orphans}
    _assert_each_is_reported_once(app, receiver)


@pytest.mark.parametrize("cache", ["none", ""])
def test_what_is_forked_while_tracing_begins_is_traced_once(cache: str, receiver: Receiver) -> None:
    """By itself or by the process that forked it, whichever was first; until then, it is not traced."""
    environ = {"OTEL_PYTHON_TCPLIFE_CACHE": cache}
    with Traced(*_FORKING, "busy_daemon", receiver=receiver, environ=environ) as app:
        processes: set[int] = set(app.wait_for("runs", 7))
        wait_until(
            lambda: processes <= {end.pid for end in receiver.ends()},
            lambda: f"not traced: {processes - {end.pid for end in receiver.ends()}} {app.said}",
        )
        # One that is traced by another may yet begin to trace itself, too
        app.wait_for("end", len(app.ends()) + 2 * 10 * len(processes))
        app.end()
    wait_until_gone(app.bpf())
    assert not app.said
    _, too_often = differences(app.ends(), receiver.ends())
    assert not too_often


def test_threads_have_sessions_while_others_fork(receiver: Receiver, server: _Server) -> None:
    with Traced(*_FORKING, "threads", str(server.server_address[1]), receiver=receiver) as app:
        app.end()
    wait_until_gone(app.bpf())
    assert not app.said
    assert len(app.ends()) == 4 * 100 + 30 * 2
    _assert_each_is_reported_once(app, receiver)


def test_a_child_is_traced_however_many_others_there_were(receiver: Receiver) -> None:
    app = _run("forks_without_end", receiver)
    assert len(app.ends()) == 4
    _assert_each_is_reported_once(app, receiver)


def test_a_child_inherits_no_lock_that_we_hold(receiver: Receiver) -> None:
    with Traced(*_FORKING, "fork_at_work", receiver=receiver) as app:
        assert app.wait_for("locked") == [False]


def test_a_child_inherits_no_import_that_we_have_begun(receiver: Receiver) -> None:
    """A module that a thread imports while another one forks can never be imported in the child."""
    with Traced(*_FORKING, "imports", receiver=receiver) as app:
        app.wait_for("made")
        receiver.wait_for(app.ends())
        app.go()
        [imported] = app.wait_for("imported")
    exporters: set[str] = {"netrc", "shlex"}
    assert not set(imported) - exporters


def test_the_counters_of_a_child_have_nothing_of_its_parents(receiver: Receiver) -> None:
    """Though it has inherited all that the parent's providers have counted, and exports the histograms again."""
    with Traced(*_FORKING, "late_child", receiver=receiver) as app:
        app.wait_for("made")
        receiver.wait_for(app.ends())
        app.go()
        app.wait_for("done", 2)
    assert not app.said
    _assert_each_is_reported_once(app, receiver)
    counting = {
        str(point.resource["service.instance.id"])
        for point in receiver.points()
        if point.name == "tcplife.probe.sessions"
    }
    assert len(counting) == 1
    exporting = {str(log.resource["service.instance.id"]) for log in receiver.logs()}
    assert exporting == counting


def test_without_privileges_an_application_forks_as_ever(receiver: Receiver) -> None:
    with Traced(*_FORKING, "children", receiver=receiver, within=_NO_PRIVILEGES) as app:
        assert app.end() == 0
    [said] = app.said
    assert said.startswith("otel-tcplife: cannot trace: ")
    assert len(app.ends()) == 10
    assert not receiver.logs()
    assert not app.bpf()
