"""Hosts with cgroups of version 1, beside version 2 or instead of it. What is mounted is another thing afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_tcplife.probe.btf import read_kernel_btf
from otel_tcplife.probe.diagnosis import kernel_version
from tests.kernels.facts import CONTAINER_BESIDE_V1
from tests.support.actor import run_actor
from tests.support.host_agent import HostAgent
from tests.support.place import cgroup, move
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import ReceivedLog, read_otlp_json_lines

_ID = "c" * 64
_MOUNTED = Path("/sys/fs/cgroup")


@contextmanager
def _mounted(kind: str, directory: Path, *options: str) -> Generator[Path]:
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", kind, *options, kind, str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def _ends(directory: Path, container: Path) -> dict[str, ReceivedLog]:
    """What is reported of a session whose client is in a cgroup, by the name of the process."""
    with (
        HostAgent(["--otlp-file", str(directory), "--no-table"]),
        run_actor(CLIENT) as client,
        run_actor(SERVER) as server,
    ):
        move(client.pid, container)
        session = Session(FAMILIES[0], client, server)
        session.open()
        session.exchange(123, 45)
        client.tell("close", "c")
        server.tell("receive", "s", 1)
        server.tell("close", "s")
    ports = session.client_port, session.server_port
    logs = read_otlp_json_lines(directory / "logs.jsonl").logs
    ends = {str(log.attributes["tcplife.comm"]): log for log in logs if log.ports in (ports, ports[::-1])}
    assert {comm: log.attributes["tcplife.bytes.sent"] for comm, log in ends.items()} == {CLIENT: 123, SERVER: 45}
    return ends


@pytest.fixture
def only_version_1() -> Iterator[Path]:
    """A hierarchy of version 1, and none of version 2."""
    subprocess.run(["umount", str(_MOUNTED)], check=True)
    with (
        _mounted("tmpfs", _MOUNTED),
        _mounted("cgroup", _MOUNTED / "systemd", "-o", "none,name=systemd") as mounted,
    ):
        yield mounted
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(_MOUNTED)], check=True)


def test_without_version_2_no_container_is_known(only_version_1: Path, tmp_path: Path) -> None:
    container = only_version_1 / "docker" / _ID
    container.mkdir(parents=True)
    ends = _ends(tmp_path, container)
    container.rmdir()
    container.parent.rmdir()
    for log in ends.values():
        assert not {"container.id", "k8s.pod.uid"} & log.resource.keys()
        assert "process.linux.cgroup" not in log.attributes


def test_beside_version_1_the_container_is_that_of_version_2(tmp_path: Path) -> None:
    with _mounted("cgroup", Path("/run/version1"), "-o", "none,name=other"), cgroup(f"docker/{_ID}") as container:
        assert _ends(tmp_path, container)[CLIENT].resource["container.id"] == _ID


def test_where_version_1_marks_sockets(tmp_path: Path) -> None:
    """A class of packets that is set once has all sockets marked from then on, until the machine is booted again."""
    if "net_cls" not in Path("/proc/cgroups").read_text():
        pytest.skip("this kernel is built without the controller net_cls")
    with _mounted("cgroup", Path("/run/net_cls"), "-o", "net_cls") as marking:
        (marking / "marked").mkdir()
        (marking / "marked/net_cls.classid").write_text("0x10001")
        with cgroup(f"docker/{_ID}") as container:
            log = _ends(tmp_path, container)[CLIENT]
        (marking / "marked").rmdir()
    has_both = read_kernel_btf().has("sock_cgroup_data", "cgroup")  # where there was only one place for both before
    assert log.resource.get("container.id") == (_ID if has_both else None)
    assert has_both == CONTAINER_BESIDE_V1.holds(kernel_version()) or kernel_version() in CONTAINER_BESIDE_V1.backported
