"""Of scope process, a helper reports each end of each session once, whatever the application does.

What the applications do stands in forking/.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.plugin.traced import Receiver, Traced, differences, wait_until
from tests.support.bpf_objects import held_by, wait_until_gone
from tests.support.helpers import helpers_of, the_helper_of, wait_until_ended
from tests.support.received import read_otlp_json_lines

_FORKING = ("-m", "tests.plugin.forking_main")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as receiver:
        yield receiver


def _traced(*program: str, receiver: Receiver, **environ: str) -> Traced:
    return Traced(*_FORKING, *program, receiver=receiver, export="auto", environ=environ)


def _assert_each_is_reported_once(app: Traced, receiver: Receiver) -> None:
    assert differences(app.ends(), receiver.ends()) == ([], [])
    found_open = [log.body for log in receiver.logs() if "tcplife.session.duration" not in log.attributes]
    assert not found_open  # all were seen from their beginning


def _counted(receiver: Receiver) -> int:
    """The sessions that are in the histograms of durations, in the last export of each helper."""
    points = [point for point in receiver.points() if point.name == "tcplife.session.duration"]
    latest = {(str(point.resource), frozenset(point.attributes.items())): point.count or 0 for point in points}
    return sum(latest.values())


def _ended(process: int, receiver: Receiver, app: Traced) -> None:
    """Wait until no helper is left of a process that has ended, and look at all that came."""
    for helper in helpers_of(process):
        wait_until_ended(helper)
    _assert_each_is_reported_once(app, receiver)
    assert _counted(receiver) == len(app.ends())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_ended_before_a_sudden_end_of_the_application_is_reported(number: int, receiver: Receiver) -> None:
    with _traced("sudden_end", str(int(number)), receiver=receiver) as app:
        app.wait_for("ready")
        helper = the_helper_of(app.pid)
        bpf = held_by(helper)
        assert not held_by(app.pid)
        app.go()
        assert app.wait() == -number
    wait_until_ended(helper)
    wait_until_gone(bpf)
    assert not app.said
    assert len(app.ends()) == 2 * 101
    _ended(app.pid, receiver, app)


def test_sessions_that_only_the_end_of_the_process_closes_are_reported(receiver: Receiver) -> None:
    with _traced("open_at_the_end", receiver=receiver) as app:
        app.wait_for("ready")
        helper = the_helper_of(app.pid)
        app.go()
        assert app.wait() == 0
    wait_until_ended(helper)
    assert len(app.ends()) == 4
    _ended(app.pid, receiver, app)


@pytest.mark.parametrize(
    "name",
    [
        "children", "child_that_returns", "killed", "multiprocessing_fork", "unjoined",
        "pool", "many_short_lived", "forks_without_end", "gives_up_privileges", "orphans", "waits_for_any_child",
    ],
)  # fmt: skip
def test_all_that_a_process_forks_is_reported_by_one_helper(name: str, receiver: Receiver) -> None:
    with _traced(name, receiver=receiver) as app:
        wait_until(lambda: app.ends(), lambda: f"{app.said}")
        helper = next(iter(helpers_of(app.pid)), None)
        assert app.end() == 0
    if helper:
        wait_until_ended(helper)
    assert not app.said
    assert not {told["pid"] for told in app.told if told.get("bpf")}  # it is the helper that has all
    assert {end.pid for end in app.ends()} - {app.pid}
    _ended(app.pid, receiver, app)


def test_an_application_that_waits_for_any_child_finds_its_own_alone(receiver: Receiver) -> None:
    with _traced("waits_for_any_child", receiver=receiver) as app:
        assert app.end() == 0
    assert app.all_told("waited") == [3]


@pytest.mark.parametrize(("name", "told"), [("daemon", "daemon"), ("thorough_daemon", "daemon"), ("chain", "chained")])
def test_what_goes_on_when_the_first_process_has_ended_is_still_traced(
    name: str, told: str, receiver: Receiver
) -> None:
    with _traced(name, receiver=receiver) as app:
        assert app.wait() == 0
        app.wait_for(told)
        helper = the_helper_of(app.pid)
        bpf = held_by(helper)
        # Nobody waits for its end
        wait_until(lambda: os.readlink(f"/proc/{helper}/fd/2") == "/dev/null", lambda: "it has standard error")
        app.go()
        app.wait_for("done", 1 if name == "chain" else 2)
    wait_until_ended(helper)
    wait_until_gone(bpf)
    assert not app.said
    _ended(app.pid, receiver, app)


def test_a_session_that_goes_on_is_reported_meanwhile(receiver: Receiver) -> None:
    with _traced("holds_open", receiver=receiver, OTEL_PYTHON_TCPLIFE_INTERIM="0.2") as app:
        [ports] = app.wait_for("ports")
        wait_until(
            lambda: [log for log in receiver.logs() if log.event_name == "tcplife.session.progress"],
            lambda: f"no report: {app.said}",
        )
        assert app.end() == 0
    reports = {log.ports for log in receiver.logs() if log.event_name == "tcplife.session.progress"}
    assert reports <= {tuple(ports), tuple(reversed(ports))}
    assert not app.said


@pytest.mark.parametrize("name", ["python_child", "multiprocessing_spawn", "multiprocessing_forkserver"])
def test_another_python_has_a_helper_of_its_own(name: str, receiver: Receiver) -> None:
    with _traced(name, receiver=receiver) as app:
        assert app.end() == 0
    receiver.wait_for(app.ends())
    wait_until(lambda: _counted(receiver) == len(app.ends()), lambda: f"{_counted(receiver)} are counted")
    assert not app.said
    _assert_each_is_reported_once(app, receiver)


def test_the_helpers_own_connections_are_nobodys(receiver: Receiver) -> None:
    with _traced("plain", receiver=receiver) as app:
        assert app.end() == 0
    wait_until(lambda: receiver.connections and not helpers_of(app.pid), lambda: "the helper has not ended")
    logs = read_otlp_json_lines(receiver.directory / "logs.jsonl").logs
    made = sorted((end.local_port, end.peer_port) for end in app.ends())
    whose = [(log.ports, log.attributes.get("process.pid"), log.resource) for log in logs]
    assert sorted(log.ports for log in logs) == made, f"receiver {receiver.port}, application {app.pid}: {whose}"


def test_the_exit_of_the_application_waits_for_nothing(receiver: Receiver) -> None:
    with _traced("idle", receiver=receiver) as app:
        app.wait_for("ready")
        helper = the_helper_of(app.pid)
        os.kill(helper, signal.SIGSTOP)
        try:
            app.go()
            assert app.wait() == 0  # which it would not, if it waited for anything of the helper
        finally:
            os.kill(helper, signal.SIGCONT)
    wait_until_ended(helper)


def test_a_helper_that_is_killed_is_one_line(receiver: Receiver) -> None:
    with _traced("goes_on", receiver=receiver) as app:
        app.wait_for("ready")
        helper = the_helper_of(app.pid)
        bpf = held_by(helper)
        os.kill(helper, signal.SIGKILL)
        wait_until_ended(helper)
        wait_until_gone(bpf)
        app.go()
        app.wait_for("more")
        assert app.end() == 0
    [said] = app.said
    assert said.startswith("otel-tcplife: the helper has ended before the application")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_helper_that_is_to_end_with_its_service_ends_after_the_application(number: int, receiver: Receiver) -> None:
    """A service manager sends the signal to all processes of the service."""
    with _traced("goes_on", receiver=receiver) as app:
        app.wait_for("ready")
        helper = the_helper_of(app.pid)
        os.kill(helper, number)
        app.go()
        app.wait_for("more")
        assert app.end() == 0
    wait_until_ended(helper)
    _ended(app.pid, receiver, app)


def test_the_helper_has_nothing_of_the_application_but_standard_error(receiver: Receiver) -> None:
    with _traced("begins_with_descriptors", receiver=receiver) as app:
        app.wait_for("ready")
        helper = the_helper_of(app.pid)
        descriptors = {link.name: os.readlink(link) for link in Path(f"/proc/{helper}/fd").iterdir()}
        errors = os.readlink(f"/proc/{app.pid}/fd/2")
        listening = {os.readlink(link) for link in _descriptors(app.pid) if "socket" in os.readlink(link)}
        status = Path(f"/proc/{helper}/stat").read_text().rpartition(")")[2].split()
        app.go()
        assert app.end() == 0
    assert (descriptors["0"], descriptors["1"], descriptors["2"]) == ("/dev/null", "/dev/null", errors)
    assert listening
    assert not listening & set(descriptors.values())
    parent, session, terminal = status[1], int(status[3]), status[4]
    assert int(parent) != app.pid
    assert session != app.pid
    assert terminal == "0"


def _descriptors(process: int) -> Iterator[Path]:
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            os.readlink(link)
            yield link


def test_the_helper_is_not_instrumented(receiver: Receiver, tmp_path: Path) -> None:
    """As where the agent is in PYTHONPATH, and is loaded by every Python."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\nopen({str(tmp_path / 'loaded')!r}, 'a').write(' '.join(sys.orig_argv) + '\\n')\n"
    )
    with _traced("plain", receiver=receiver, PYTHONPATH=str(tmp_path)) as app:
        assert app.end() == 0
    wait_until(lambda: not helpers_of(app.pid), lambda: "the helper has not ended")
    loaded = (tmp_path / "loaded").read_text()
    assert "forking_main" in loaded
    assert "helper" not in loaded
    _ended(app.pid, receiver, app)


def test_tracing_can_end_and_begin_anew(receiver: Receiver) -> None:
    with _traced("stops_and_starts", receiver=receiver) as app:
        assert app.end() == 0
    wait_until(lambda: not helpers_of(app.pid), lambda: "the helper has not ended")
    assert not app.said
    _assert_each_is_reported_once(app, receiver)
    counts: Counter[str] = Counter(end.role or "" for end in receiver.ends())
    assert counts == {"client": 2, "server": 2}


def test_in_a_container_the_helper_delivers_before_the_application_ends(receiver: Receiver) -> None:
    """With the first process of a PID namespace, the kernel kills all others."""
    within = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", '"$0" "$@"; exit $?']
    with Traced(*_FORKING, "plain", receiver=receiver, export="auto", within=within) as app:
        assert app.end() == 0
    assert not app.said
    assert len(app.ends()) == 2
    assert sorted(end[1:] for end in receiver.ends()) == sorted(end[1:] for end in app.ends())


def test_the_first_process_of_a_container_is_given_no_child(receiver: Receiver) -> None:
    within = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with Traced(*_FORKING, "waits_for_any_child", receiver=receiver, export="auto", within=within) as app:
        assert app.end() == 0
    assert app.all_told("waited") == [3]
    assert sorted(end[1:] for end in receiver.ends()) == sorted(end[1:] for end in app.ends())


def test_it_imports_no_numpy_into_the_application(receiver: Receiver) -> None:
    program = "import sys; print('{\"numpy\": %d}' % ('numpy' in sys.modules))"
    with Traced("-c", program, receiver=receiver, export="auto") as app:
        assert app.end() == 0
    assert app.all_told("numpy") == [0]
    assert sys.executable
