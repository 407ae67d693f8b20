"""Where a session ran: its container and its network namespace."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.actor import run_actor
from tests.support.host_agent import HostAgent
from tests.support.place import cgroup, move, network_namespace
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import ReceivedLog, read_otlp_json_lines

_IDS = {name: digit * 64 for name, digit in (("client", "c"), ("server", "5"))}


def _played(session: Session) -> None:
    session.open()
    session.exchange(10, 10)
    session.client.tell("close", "c")
    assert session.server.tell("receive", "s", 1) == 0
    session.server.tell("close", "s")


def _ends(directory: Path, session: Session) -> dict[str, ReceivedLog]:
    ports = session.client_port, session.server_port
    ends = {ports: "client", ports[::-1]: "server"}
    logs = read_otlp_json_lines(directory / "logs.jsonl").logs
    return {ends[log.ports]: log for log in logs if log.ports in ends}


@pytest.mark.parametrize("made", ["before tracing", "while tracing"])
def test_the_container_is_known_also_when_it_is_gone(made: str, tmp_path: Path) -> None:
    paths = f"docker-{_IDS['client']}.scope", f"cri-containerd-{_IDS['server']}.scope"
    agent = HostAgent(["--otlp-file", str(tmp_path), "--no-table"])
    with ExitStack() as tracing:
        if made == "while tracing":
            tracing.enter_context(agent)
        with cgroup(paths[0]) as of_client, cgroup(paths[1]) as of_server:
            if made == "before tracing":
                tracing.enter_context(agent)
            with run_actor(CLIENT) as client, run_actor(SERVER) as server:
                move(client.pid, of_client)
                move(server.pid, of_server)
                session = Session(FAMILIES[0], client, server)
                _played(session)
    ends = _ends(tmp_path, session)
    assert {end: log.attributes.get("container.id") for end, log in ends.items()} == _IDS
    assert not any("process.linux.cgroup" in log.attributes for log in ends.values())


@pytest.mark.parametrize("made", ["before tracing", "while tracing"])
def test_outside_of_containers_the_cgroup_is_shown_as_proc_has_it(made: str, tmp_path: Path) -> None:
    """A systemd unit, here of names that the tests make; also when it is gone."""
    agent = HostAgent(["--otlp-file", str(tmp_path), "--no-table"])
    with ExitStack() as tracing:
        if made == "while tracing":
            tracing.enter_context(agent)
        with cgroup("system.slice/tcplife-client.service") as of_client, cgroup("system.slice/café.scope") as of_server:
            if made == "before tracing":
                tracing.enter_context(agent)
            with run_actor(CLIENT) as client, run_actor(SERVER) as server:
                move(client.pid, of_client)
                move(server.pid, of_server)
                shown = {CLIENT: _cgroup_line(client.pid), SERVER: _cgroup_line(server.pid)}
                session = Session(FAMILIES[0], client, server)
                _played(session)
    ends = _ends(tmp_path, session)
    assert {log.attributes["tcplife.comm"]: log.attributes["process.linux.cgroup"] for log in ends.values()} == shown
    assert shown[CLIENT].endswith("/system.slice/tcplife-client.service")
    assert "container.id" not in ends["client"].attributes


def _cgroup_line(pid: int) -> str:
    """The line of /proc/PID/cgroup that is of version 2 (cgroups(7))."""
    [line] = [line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")]
    return line


def test_outside_of_containers_there_is_none(tmp_path: Path) -> None:
    with (
        HostAgent(["--otlp-file", str(tmp_path), "--no-table"]),
        run_actor(CLIENT) as client,
        run_actor(SERVER) as server,
    ):
        session = Session(FAMILIES[0], client, server)
        _played(session)
    for log in _ends(tmp_path, session).values():
        assert not {"container.id", "tcplife.netns"} & log.attributes.keys()


def test_the_network_namespace_is_that_of_the_socket(tmp_path: Path) -> None:
    with network_namespace() as (name, inode), HostAgent(["--otlp-file", str(tmp_path), "--no-table"]):
        run = ["ip", "netns", "exec", name]
        with run_actor(CLIENT, run=run) as client, run_actor(SERVER, run=run) as server:
            session = Session(FAMILIES[0], client, server)
            _played(session)
    ends = _ends(tmp_path, session)
    assert {end: log.attributes.get("tcplife.netns") for end, log in ends.items()} == {"client": inode, "server": inode}
    assert ends["client"].attributes["process.pid"] == client.pid
