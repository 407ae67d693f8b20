"""What a user who has CAP_BPF and CAP_PERFMON alone finds out, beside root, and who has them from a file."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from otel_tcplife.capabilities import LOADING
from tests.support.actor import run_actor
from tests.support.for_all_users import (
    LOCKED_MEMORY,
    NOBODY,
    as_nobody,
    directory_of,
    in_reach_of_all,
    python_with_capabilities,
)
from tests.support.host_agent import COMMAND, HostAgent
from tests.support.place import cgroup, move
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import ReceivedLog, read_otlp_json_lines
from tests.support.thread_status import threads_of

_TIMES = {"tcplife.session.duration", "tcplife.handshake.duration"}
"""Each program reads the clock by itself."""

_CONTAINER = "d" * 64


def _of_user(directory: Path, *more: str) -> HostAgent:
    """An agent of a user who has the two capabilities, and more."""
    plus = ",".join(f"+{name}" for name in ("bpf", "perfmon", *more))
    ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    capabilities = [f"--{kind}=-all,{plus}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    run = [*in_reach_of_all(), *LOCKED_MEMORY, "setpriv", *ids, *capabilities]
    return HostAgent(["--otlp-file", str(directory), "--no-table"], cwd=directory, run=run)


def _with_container(log: ReceivedLog) -> dict[str, Any]:
    """Its attributes, with that of the resource that is a fact of the session."""
    of_resource = {name: value for name, value in log.resource.items() if name == "container.id"}
    return {**log.attributes, **of_resource}


def _facts(directory: Path, session: Session) -> list[dict[str, Any]]:
    """What is said of both ends of a session, but for times."""
    ports = session.client_port, session.server_port
    logs = read_otlp_json_lines(directory / "logs.jsonl").logs
    ends = [log for log in logs if log.ports in (ports, ports[::-1]) and not log.is_elsewhere]
    said = [_with_container(log) for log in sorted(ends, key=lambda log: log.ports)]
    return [{name: value for name, value in each.items() if name not in _TIMES} for each in said]


def test_two_capabilities_tell_all_that_root_is_told(tmp_path: Path) -> None:
    """Of processes of root, in a container, with a session that was open before; both trace the host at once."""
    with ExitStack() as stack:
        directory = stack.enter_context(directory_of(NOBODY))
        place = stack.enter_context(cgroup(f"docker-{_CONTAINER}.scope"))
        client, server = stack.enter_context(run_actor(CLIENT)), stack.enter_context(run_actor(SERVER))
        move(client.pid, place)
        before, after = Session(FAMILIES[0], client, server), Session(FAMILIES[1], client, server)
        before.open()
        with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]), _of_user(directory):
            for session in (before, after):
                if session is after:
                    session.open()
                session.exchange(1000, 70)
                client.tell("close", "c")
                assert server.tell("receive", "s", 1) == 0
                server.tell("close", "s")
        for session in (before, after):
            facts = _facts(directory, session)
            assert len(facts) == 2
            assert facts == _facts(tmp_path, session)
            assert next(each for each in facts if each["process.pid"] == client.pid)["container.id"] == _CONTAINER


@pytest.mark.parametrize("more", [(), ("dac_read_search",)])
def test_what_takes_more_is_a_container_behind_a_closed_cgroup(more: tuple[str, ...]) -> None:
    """One that was made before tracing, or else the program would have its path."""
    with ExitStack() as stack:
        directory = stack.enter_context(directory_of(NOBODY))
        place = stack.enter_context(cgroup(f"docker-{_CONTAINER}.scope"))
        place.parent.chmod(0o700)
        client, server = stack.enter_context(run_actor(CLIENT)), stack.enter_context(run_actor(SERVER))
        move(client.pid, place)
        session = Session(FAMILIES[0], client, server)
        with _of_user(directory, *more):
            session.open()
            client.tell("close", "c")
            server.tell("close", "s")
        [of_client] = [each for each in _facts(directory, session) if each["process.pid"] == client.pid]
        assert of_client.get("container.id") == (_CONTAINER if more else None)


def test_a_python_whose_file_has_the_capabilities_traces() -> None:
    """The program is loaded by another Python, which has none in its file. The command's own threads get no more."""
    with ExitStack() as stack:
        directory = stack.enter_context(directory_of(NOBODY))
        python = stack.enter_context(python_with_capabilities(LOADING))
        client, server = stack.enter_context(run_actor(CLIENT)), stack.enter_context(run_actor(SERVER))
        session = Session(FAMILIES[0], client, server)
        arguments, run = ["--otlp-file", str(directory), "--no-table"], [*as_nobody(), str(python)]
        with HostAgent(arguments, cwd=directory, run=run) as agent:
            [threads] = {*threads_of(agent.pid)}
            session.open()
            session.exchange(12, 34)
            client.tell("close", "c")
            server.tell("close", "s")
        assert {each["process.pid"] for each in _facts(directory, session)} == {client.pid, server.pid}
    assert {threads.permitted, threads.effective} == {LOADING}
    assert {threads.inheritable, threads.ambient} == {0}


_NOSUID = 'mount --bind "$0" "$0" && mount -o remount,bind,nosuid "$0" && exec "$@"'
_ON_NOSUID = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _NOSUID, tempfile.gettempdir()]
_OF_FILE: dict[str, tuple[list[str], bool, list[str], list[str]]] = {
    "as they are": (as_nobody(), True, ["ok", "ok"], []),
    "in a user namespace": (
        [*as_nobody(), "unshare", "--user", "--map-root-user"],
        True,
        ["missing"],
        ["outside of the user"],
    ),
    "with no_new_privs": (as_nobody("--no-new-privs"), True, ["missing"], ["do not count with no_new_privs"]),
    "on a file system for no such files": ([*_ON_NOSUID, *as_nobody()], True, ["missing"], ["mounted nosuid"]),
    "not effective": (as_nobody(), False, ["missing"], ["cap_bpf,cap_perfmon+ep"]),
}
"""What runs it, whether they are effective, what --check finds of privileges and of the program, and what mends it."""


@pytest.mark.parametrize("case", _OF_FILE)
def test_check_says_of_capabilities_of_a_file_what_tracing_will(case: str) -> None:
    run, effective, found, remedies = _OF_FILE[case]
    with directory_of(NOBODY) as directory, python_with_capabilities(LOADING, effective=effective) as python:
        done = subprocess.run(
            [*run, str(python), COMMAND, "--check"], capture_output=True, text=True, cwd=directory, check=False
        )
    lines = [line for line in done.stdout.splitlines() if line.split()[1] in ("privileges:", "program:")]
    assert [line.split()[0] for line in lines] == found
    assert done.returncode == bool(remedies)
    assert [remedy for remedy in remedies if remedy not in lines[0]] == []
