"""Where a session ran: its container and its network namespace."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.actor import run_actor
from tests.support.host_agent import HostAgent
from tests.support.place import cgroup, move, network_namespace
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import ReceivedLog, read_otlp_json_lines

_IDS = {name: digit * 64 for name, digit in (("client", "c"), ("server", "5"))}


_DURATION = "tcplife.session.duration"


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


_UID = "8a1f6d8e-6c7e-4f5c-9d0d-d3a2e5b8c111"
_POD = "pod" + _UID.replace("-", "_")

_PATHS: dict[str, tuple[str, str, dict[str, str]]] = {
    "Docker and containerd": ("docker-{client}.scope", "cri-containerd-{server}.scope", {}),
    "Docker by cgroupfs, Podman": ("docker/{client}", "machine.slice/libpod-{server}.scope/container", {}),
    "Kubernetes by systemd: containerd, CRI-O": (
        f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-{_POD}.slice/cri-containerd-{{client}}.scope",
        f"kubepods.slice/kubepods-{_POD}.slice/crio-{{server}}.scope/container",
        {"k8s.pod.uid": _UID},
    ),
    "Kubernetes by cgroupfs": (
        f"kubepods/burstable/pod{_UID}/{{client}}",
        f"kubepods/pod{_UID}/{{server}}",
        {"k8s.pod.uid": _UID},
    ),
}
_OUR_SERVICE = ("service.name", "service.version", "service.instance.id")


@pytest.mark.parametrize("names", _PATHS)
@pytest.mark.parametrize("made", ["before tracing", "while tracing"])
def test_the_container_is_the_resource_also_when_it_is_gone(made: str, names: str, tmp_path: Path) -> None:
    of_client, of_server, pod = _PATHS[names]
    paths = of_client.format_map(_IDS), of_server.format_map(_IDS)
    agent = HostAgent(["--otlp-file", str(tmp_path), "--no-table"])
    with ExitStack() as tracing:
        if made == "while tracing":
            tracing.enter_context(agent)
        with cgroup(paths[0]) as clients, cgroup(paths[1]) as servers:
            if made == "before tracing":
                tracing.enter_context(agent)
            with run_actor(CLIENT) as client, run_actor(SERVER) as server:
                move(client.pid, clients)
                move(server.pid, servers)
                session = Session(FAMILIES[0], client, server)
                _played(session)
    ends = _ends(tmp_path, session)
    told = read_otlp_json_lines(tmp_path / "metrics.jsonl").points
    [own] = {str(point.resource) for point in told if point.name == "tcplife.probe.sessions"}
    for end, log in ends.items():
        entity = {"container.id": _IDS[end], **pod}
        assert {name: log.resource.get(name) for name in entity} == entity
        assert not {*_OUR_SERVICE} & log.resource.keys()
        assert log.resource["host.name"] == socket.gethostname()
        assert not {*entity, "process.linux.cgroup"} & log.attributes.keys()
        counts = [point.count for point in told if (point.resource, point.name) == (log.resource, _DURATION)]
        assert counts[-1] == 1  # there may be earlier exports, where the machine is slow
    assert len(ends) == 2
    assert "container.id" not in own
    assert "otel-tcplife" in own


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
    assert "container.id" not in ends["client"].resource


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
        assert "tcplife.netns" not in log.attributes
        assert not {"container.id", "k8s.pod.uid"} & log.resource.keys()
        assert {*_OUR_SERVICE} <= log.resource.keys()


def test_the_network_namespace_is_that_of_the_socket(tmp_path: Path) -> None:
    with network_namespace() as (name, inode), HostAgent(["--otlp-file", str(tmp_path), "--no-table"]):
        run = ["ip", "netns", "exec", name]
        with run_actor(CLIENT, run=run) as client, run_actor(SERVER, run=run) as server:
            session = Session(FAMILIES[0], client, server)
            _played(session)
    ends = _ends(tmp_path, session)
    assert {end: log.attributes.get("tcplife.netns") for end, log in ends.items()} == {"client": inode, "server": inode}
    assert ends["client"].attributes["process.pid"] == client.pid
