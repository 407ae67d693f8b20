"""The command as another user: what it may not do any more, and that it goes on reporting all that it did."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from otel_tcplife import privileges
from tests.support.actor import run_actor
from tests.support.for_all_users import NOBODY, directory_of, in_reach_of_all
from tests.support.host_agent import COMMAND, HostAgent
from tests.support.otlp_receiver import HttpHandler, HttpReceiver
from tests.support.place import cgroup, move
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import ReceivedLog, read_otlp_json_lines
from tests.support.thread_status import ThreadStatus, threads_of
from tests.support.tls import make_tls

_ACCOUNT = pwd.getpwuid(NOBODY)
_GROUPS = tuple(sorted(os.getgrouplist(_ACCOUNT.pw_name, _ACCOUNT.pw_gid)))
_DROPPED = ThreadStatus((NOBODY,) * 4, (_ACCOUNT.pw_gid,) * 4, _GROUPS, 0, 0, 0, 0, 0, 1)
_ONLY_BPF = _DROPPED._replace(permitted=1 << 39, effective=1 << 39)

_BECOMES = f"the user is {_ACCOUNT.pw_name} from now on, without capabilities"

_KERNELS: dict[str, tuple[list[str], ThreadStatus]] = {
    "this kernel": ([], _DROPPED),
    "before 5.19": ([sys.executable, str(Path(__file__).with_name("before_5_19_main.py"))], _ONLY_BPF),
}
"""What runs the command so that the kernel is that one, and what the command's threads then are."""


def _agent(*arguments: str, env: Mapping[str, str] = {}, cwd: Path | None = None, run: Sequence[str] = ()) -> HostAgent:
    return HostAgent(["--user", _ACCOUNT.pw_name, *arguments], env, cwd, run=[*in_reach_of_all(), *run])


def _of(session: Session, directory: Path, *, growing: bool = False) -> list[ReceivedLog]:
    """What was reported of a session's ends."""
    ports = session.client_port, session.server_port
    paths = [path for path in directory.glob("logs.jsonl*") if path.exists()]
    logs = [log for path in paths for log in read_otlp_json_lines(path, growing=growing).logs]
    return [log for log in logs if log.ports in (ports, ports[::-1]) and not log.is_elsewhere]


def test_nothing_leaves_before_all_threads_have_dropped_everything() -> None:
    """Seen by the receiver: whose socket asks, and what the threads are when each request has come."""
    uids: list[int] = []
    threads: list[ThreadStatus] = []

    def look(handler: HttpHandler) -> None:
        uids.append(_uid_of_socket(handler))
        threads.extend(threads_of(agent.pid))
        handler.give_answer()

    with HttpReceiver() as receiver:
        receiver.act = look
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "50"}
        agent = _agent(env=variables)
        with agent, run_actor(CLIENT) as client, run_actor(SERVER) as server:
            threads.extend(threads_of(agent.pid))
            while not receiver.requests:
                time.sleep(0.01)
            session = Session(FAMILIES[0], client, server)
            session.open()
            client.tell("close", "c")
            server.tell("close", "s")
        assert {request.signal for request in receiver.requests} == {"logs", "metrics"}
    assert {*threads} == {_DROPPED}
    assert {*uids} == {NOBODY}
    becomes, traces = (
        next(i for i, line in enumerate(agent.said) if words in line) for words in ("user is", "tracing")
    )
    assert becomes < traces


def _uid_of_socket(handler: HttpHandler) -> int:
    """Whose the socket is that asks, on loopback; others can have had the same port, for other peers."""
    ends = [f"0100007F:{port:04X}" for port in (handler.client_address[1], handler.receiver.server_port)]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return next(int(row[7]) for row in rows if row[1:3] == ends)


@pytest.mark.parametrize("kernel", _KERNELS)
def test_open_sessions_are_found_and_reported_again_and_again(kernel: str) -> None:
    """Those of processes of root: the scan is of all processes, whoever the tracer is by then."""
    run, expected = _KERNELS[kernel]
    with directory_of(NOBODY) as directory, run_actor(CLIENT) as client, run_actor(SERVER) as server:
        before = Session(FAMILIES[0], client, server)
        before.open()
        interim = {"OTEL_PYTHON_TCPLIFE_INTERIM": "0.4"}
        another_port = server.tell("listen", "listener2", "::1")
        # Others on this host may have many sessions open
        only = ("-D", f"{before.server_port},{another_port}")
        with _agent("--otlp-file", str(directory), *only, env=interim, run=run) as agent:
            assert {*threads_of(agent.pid)} == {expected}
            with run_actor(CLIENT) as another:
                after = Session(FAMILIES[1], another, server)
                after.server_port = another_port
                after.client_port, error = another.connect("c", "::1", after.server_port)
                assert not error
                for session in (before, after):
                    while len(_of(session, directory, growing=True)) < 4:
                        time.sleep(0.05)
                assert {*threads_of(agent.pid)} == {expected}
        reports = [log for log in _of(before, directory) if log.ports[0] == before.client_port]
        assert {log.event_name for log in reports} == {"tcplife.session.progress"}
        assert {log.attributes["process.pid"] for log in reports} == {client.pid}
        assert {log.attributes["tcplife.owner.source"] for log in reports} == {"adopted"}


@pytest.mark.parametrize("kernel", _KERNELS)
def test_sessions_that_wait_for_their_owner_are_taken(kernel: str) -> None:
    """To take one is to iterate over a map, to look it up and to delete it."""
    with directory_of(NOBODY) as directory, run_actor(CLIENT) as client, run_actor(SERVER) as server:
        session = Session(FAMILIES[0], client, server)
        with _agent("--otlp-file", str(directory), run=_KERNELS[kernel][0]) as agent:
            session.open()
            session.exchange(70, 7)
            client.reset("c")
            session.wait_until_gone()
        [log] = [log for log in _of(session, directory) if log.ports[0] == session.server_port]
        assert log.attributes["tcplife.close.reason"] == "peer_reset"
        assert log.attributes["tcplife.bytes.received"] == 70
        assert "process.pid" not in log.attributes
        assert not any("unclaimed" in line for line in agent.said)


@pytest.mark.parametrize("kernel", _KERNELS)
@pytest.mark.parametrize("made", ["before tracing", "while tracing"])
def test_containers_are_known(made: str, kernel: str) -> None:
    """Those that are made meanwhile are in a map, with the path that they had."""
    container = "e" * 64
    with ExitStack() as stack:
        directory = stack.enter_context(directory_of(NOBODY))
        agent = _agent("--otlp-file", str(directory), run=_KERNELS[kernel][0])
        with ExitStack() as tracing:
            if made == "while tracing":
                tracing.enter_context(agent)
            place = stack.enter_context(cgroup(f"docker-{container}.scope"))
            place.chmod(0o700)  # closed to the user
            place.parent.chmod(0o700)
            if made == "before tracing":
                tracing.enter_context(agent)
            with run_actor(CLIENT) as client, run_actor(SERVER) as server:
                move(client.pid, place)
                session = Session(FAMILIES[0], client, server)
                session.open()
                client.tell("close", "c")
                server.tell("close", "s")
        [log] = [log for log in _of(session, directory) if log.ports[0] == session.client_port]
        assert log.resource["container.id"] == container
        assert log.attributes["process.executable.name"] == client.executable


def test_files_are_the_users_and_are_rotated(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)  # as the working directory of root often is
    limits = {"OTEL_PYTHON_TCPLIFE_FILE_BYTES": "1500", "OTEL_PYTHON_TCPLIFE_FILE_KEEP": "1000"}
    with directory_of(NOBODY) as directory, run_actor(CLIENT) as client, run_actor(SERVER) as server:
        made = directory / "made" / "here"
        session = Session(FAMILIES[0], client, server)
        with _agent("--otlp-file", str(made), "--no-table", env=limits, cwd=tmp_path):
            session.open()
            client.tell("close", "c")
            while not (made / "logs.jsonl").exists():
                time.sleep(0.01)
            server.tell("close", "s")
            while not (made / "logs.jsonl.1").exists():
                more = Session(FAMILIES[0], client, server)
                more.open()
                client.tell("close", "c")
                server.tell("close", "s")
                time.sleep(0.1)
        assert len(_of(session, made)) == 2
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in directory.rglob("*")}
        assert owners == {(NOBODY, _ACCOUNT.pw_gid)}


def test_a_recording_that_only_root_may_read_is_replayed_as_the_user(tmp_path: Path) -> None:
    recording = tmp_path / "recording.csv"
    recording.write_text("PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS\n7,x,4,10.0.0.1,4000,10.0.0.2,80,3,5,2\n")
    recording.chmod(0o600)
    with directory_of(NOBODY) as directory:
        code, said = _said_by("--replay", str(recording), "--no-table", "--otlp-file", str(directory))
        assert [log.ports for log in read_otlp_json_lines(directory / "logs.jsonl").logs] == [(4000, 80)]
        assert {path.stat().st_uid for path in directory.iterdir()} == {NOBODY}
    assert (code, said[0]) == (0, _BECOMES)


def _said_by(*arguments: str, env: Mapping[str, str] = {}, run: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Of a command that ends by itself and prints nothing: its exit code, and its lines on standard error."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [*in_reach_of_all(), *run, COMMAND, "--user", _ACCOUNT.pw_name, *arguments]
    done = subprocess.run(command, env={**inherited, **env}, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.returncode, [line.removeprefix("otel-tcplife: ") for line in done.stderr.splitlines()]


def test_a_key_that_the_user_may_not_read_is_told_before_anything_is_traced() -> None:
    """Root may, and would find it in order."""
    with directory_of(NOBODY) as directory:
        tls = make_tls(directory)
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(tls.client_cert),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(tls.client_key),
        }
        code, [line] = _said_by(env=variables)
    assert code == 2
    assert f"cannot be read with OTEL_EXPORTER_OTLP_CLIENT_KEY='{tls.client_key}': permission denied; " in line


def test_a_directory_that_the_user_may_not_write_to_is_told() -> None:
    with directory_of(0) as directory:
        directory.chmod(0o755)
        code, said = _said_by("--otlp-file", str(directory))
    problem = f"cannot write to the directory {directory}: Permission denied; give --otlp-file a directory of yours"
    assert (code, said) == (2, [_BECOMES, problem])


def test_who_may_not_become_another_user_is_told() -> None:
    drop = ["setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid"]
    problem = f"--user {_ACCOUNT.pw_name}: Operation not permitted; run as root, or leave --user out"
    assert _said_by(run=drop) == (2, [problem])


def test_modules_that_the_user_may_not_read_are_told(tmp_path: Path) -> None:
    """Some are imported only when the user is another one already."""
    closed = str(shutil.copy(privileges.__file__, tmp_path))
    Path(closed).chmod(0o600)
    mount = 'mount --bind "$0" "$1" && shift && exec "$@"'
    run = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, closed, privileges.__file__]
    code, [line] = _said_by(run=run)
    assert code == 2
    assert line.startswith(f"--user {_ACCOUNT.pw_name}: that user cannot read {privileges.__file__}; install ")


def test_under_an_agent_whose_threads_would_keep_privileges_it_is_refused() -> None:
    agent = str(Path(COMMAND).with_name("opentelemetry-instrument"))
    code, said = _said_by(env={"OTEL_TRACES_EXPORTER": "none"}, run=[agent])
    assert code == 2
    assert said[-1] == "--user: other threads run in this process already; run the command itself, without an agent"


def test_check_asks_the_receiver_as_the_user() -> None:
    uids: list[int] = []

    def look(handler: HttpHandler) -> None:
        uids.append(_uid_of_socket(handler))
        handler.give_answer()

    with HttpReceiver() as receiver:
        receiver.act = look
        command = [*in_reach_of_all(), COMMAND, "--check", "--user", _ACCOUNT.pw_name]
        variables = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert uids == [NOBODY, NOBODY]
