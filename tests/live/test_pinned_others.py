"""A program that stays, beside others: another version, the agent's own connections, and plugins that stand by."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

import otel_tcplife
from otel_tcplife.probe import bpf
from otel_tcplife.probe.host_tracer import HOST_MAP
from otel_tcplife.session import empty
from tests.support.bpf_objects import held_by, wait_until_gone
from tests.support.host_agent import HostAgent
from tests.support.other_sessions import others
from tests.support.otlp_receiver import HttpReceiver
from tests.support.pins import PIN, Pinned, balance_of
from tests.support.received import read_requests
from tests.support.traffic import Traffic

_RESERVED = empty(1)["reserved"].shape[1]


def _other_version(directory: Path) -> dict[str, str]:
    """A copy of the package whose rows are longer, and what has an agent be of that."""
    package = Path(otel_tcplife.__file__).parent
    shutil.copytree(package, directory / "otel_tcplife")
    shutil.copytree(package.parent / "bpf", directory / "bpf")
    for name, before, after in (
        ("otel_tcplife/session.py", f'("reserved", np.uint8, {_RESERVED})', f'("reserved", np.uint8, {_RESERVED + 8})'),
        ("bpf/session.h", f"u8 reserved[{_RESERVED}];", f"u8 reserved[{_RESERVED + 8}];"),
    ):
        path = directory / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
    return {"PYTHONPATH": str(directory)}


@pytest.mark.parametrize("is_first", [True, False])
def test_what_another_version_has_left_is_read_and_counted(
    is_first: bool, pinned: Pinned, traffic: Traffic, tmp_path: Path
) -> None:
    """Its maps are not those of this one, so that sessions that are open are found as at any first start."""
    other = _other_version(tmp_path / "other")
    with pinned.agent(other if is_first else {}) as first:
        before = traffic.sessions(3)
        first.stop()
    client, server = traffic.open()
    client.send(bytes(7))
    assert len(server.recv(7, socket.MSG_WAITALL)) == 7
    between = traffic.sessions(20)
    with pinned.agent({} if is_first else other) as second:
        client.close()
        server.close()
        after = traffic.sessions(5)
        second.stop()
    logs = traffic.of(pinned.logs())
    assert len(logs) == before + between + 2 + after
    adopted = [log for log in logs if log.attributes.get("tcplife.start_observed") is False]
    assert {log.attributes.get("tcplife.bytes.received") for log in adopted} == {0, 7}
    assert len(adopted) == 2
    said = "otel-tcplife: the BPF program that stayed is of another version: sessions that are open are adopted"
    assert said in second.said
    for agent in (first, second):
        seen, kernel, file = balance_of(agent)
        assert seen == sum(kernel.values())
        assert kernel["submitted"] == file["exported"]
    assert len(list(pinned.pins.iterdir())) == 1


def test_the_connections_of_the_next_agent_are_not_reported_either(pinned: Pinned, traffic: Traffic) -> None:
    """The program knows its tracer by what that has told it at its start."""
    with HttpReceiver() as receiver:
        environ = {PIN: str(pinned.pins), "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        made = 0
        for _ in range(2):
            with HostAgent(["--no-table"], environ) as agent:
                made += traffic.sessions(3)
                agent.stop()
        logs = read_requests([request.as_json() for request in receiver.requests if request.signal == "logs"]).logs
        assert len(traffic.of(logs)) == made
        assert not [log for log in logs if receiver.server_port in log.ports and not log.is_elsewhere]


def test_a_plugin_of_scope_host_stands_by_only_while_the_agent_runs(pinned: Pinned) -> None:
    """By this map it knows that somebody traces the host: it is the agent's, and not pinned."""
    for _ in range(2):
        with pinned.agent() as agent:
            maps = {each for each in held_by(agent.pid) if each.kind == "map"}
            host = {each for each in maps if bpf.map_name(each.id) == HOST_MAP}
            assert len(host) == 1
            agent.stop()
        wait_until_gone(host)
        assert not {bpf.map_name(each.id) for each in maps - host} & {HOST_MAP, ""}


def test_sessions_that_had_no_place_have_one_when_the_next_agent_finds_them(pinned: Pinned, traffic: Traffic) -> None:
    """And are not taken for such without a place any more, however they end."""
    few = {"OTEL_PYTHON_TCPLIFE_MAX_SESSIONS": str(len(others(own=0).sessions) + 100)}
    with pinned.agent(few) as first:
        pairs = [traffic.open() for _ in range(75)]
        first.stop()
    at_first = len(_without_place(pinned))
    assert at_first > 30
    for end in (end for pair in pairs[:20] for end in pair):
        end.close()
    with pinned.agent(few):
        found = at_first - len(_without_place(pinned))
        assert found > 20
        for end in (end for pair in pairs[20:] for end in pair):
            end.close()
    logs = traffic.of(pinned.logs())
    adopted = [log for log in logs if "tcplife.start_observed" in log.attributes]
    assert len(adopted) == found
    assert len({log.ports for log in logs}) == len(logs)


def _without_place(pinned: Pinned) -> list[int]:
    """The sockets that the program knows to have none in its map of flows."""
    [directory] = pinned.pins.iterdir()
    descriptor = os.open(directory, os.O_RDONLY)
    overflowed = bpf.pinned(descriptor, "map_overflowed")
    try:
        return list(bpf.keys(overflowed))
    finally:
        os.close(overflowed)
        os.close(descriptor)
