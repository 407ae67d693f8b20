"""Sessions of well-known servers and their clients: what is reported against what the programs say of themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.live.servers import nginx, openssh, postgresql, redis
from tests.live.servers.ends import Expected
from tests.live.servers.wire import Wire, WireSession
from tests.support.background_process import free_ports
from tests.support.expected_end import ExpectedEnd
from tests.support.host_agent import HostAgent
from tests.support.libbpf_tcplife import LibbpfTcplife, Row
from tests.support.received import ReceivedLog, read_otlp_json_lines

SERVERS = ("nginx", "redis", "sshd", "postgresql")


_Key = tuple[object, object, object]
"""Address family, local and peer port."""


@dataclass
class Run:
    """What was done, and all that came of it."""

    ends: list[ExpectedEnd]
    wire: list[WireSession]
    logs: dict[_Key, list[ReceivedLog]]
    peer: list[Row]
    said: list[str]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with tempfile.TemporaryDirectory(prefix="tcplife-servers-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # servers have users of their own
        ports = free_ports(5)
        with (
            Wire(ports) as wire,
            HostAgent(["--otlp-file", str(directory / "otlp"), "--no-table"]) as agent,
            LibbpfTcplife() as peer,
        ):
            ends = [
                *nginx.play(directory / "nginx", ports[0], ports[1]),
                *redis.play(directory / "redis", ports[2], wire),
                *openssh.play(directory / "sshd", ports[3]),
                *postgresql.play(directory / "postgresql", ports[4]),
            ]
            rows = peer.stop()
            assert agent.stop() == 0
            seen = wire.sessions()
        logs: dict[_Key, list[ReceivedLog]] = {}
        for log in read_otlp_json_lines(directory / "otlp/logs.jsonl").logs:
            if not log.is_elsewhere and ip_address(str(log.attributes["network.local.address"])).is_loopback:
                logs.setdefault(_key(log.attributes), []).append(log)
        yield Run(ends, seen, logs, rows, agent.said)


def _key(attributes: Expected) -> _Key:
    return attributes["network.type"], attributes.get("network.local.port"), attributes["network.peer.port"]


def _of(run: Run, key: _Key) -> ReceivedLog:
    """The one record of this end."""
    found = run.logs.get(key, [])
    assert len(found) == 1, f"{key}: reported {len(found)} times; {run.said[-2:]}"
    return found[0]


@pytest.mark.parametrize("server", SERVERS)
def test_each_end_is_reported_once_as_the_programs_say(run: Run, server: str) -> None:
    ends = [end for end in run.ends if end.scenario.startswith(server)]
    assert ends
    wrong: list[str] = []
    for end in ends:
        differences = end.differences(_of(run, _key(end.attributes)))
        wrong += [f"{end.scenario}, {end.attributes['tcplife.role']}: {each}" for each in differences]
    assert not wrong, "\n".join(wrong)


def test_the_bytes_and_how_it_ended_are_those_on_the_wire(run: Run) -> None:
    """Of all sessions, those too by which it was found out whether PostgreSQL is there."""
    sessions = [session for session in run.wire if session.established]
    assert len(sessions) >= len([end for end in run.ends if end.event == "tcplife.session.closed"]) // 2
    for session in sessions:
        for side, ports in enumerate(
            [(session.client_port, session.server_port), (session.server_port, session.client_port)]
        ):
            log = _of(run, (session.network_type, *ports))
            assert log.attributes["tcplife.role"] == ("client", "server")[side]
            told = tuple(log.attributes.get(f"tcplife.bytes.{way}") for way in ("sent", "received"))
            if session.closed_in_order() or session.ended_by_reset(side):
                assert told == session.bytes(side), log.body
            if outcome := session.outcome(side):
                assert (log.attributes["tcplife.close.reason"], log.attributes.get("error.type")) == outcome, log.body


def test_nothing_is_reported_that_was_not_on_the_wire(run: Run) -> None:
    seen = {(each.network_type, *sorted((each.client_port, each.server_port))) for each in run.wire}
    ports = {each.server_port for each in run.wire}
    reported = [(key[0], log.ports) for key, logs in run.logs.items() for log in logs if ports & {*log.ports}]
    assert {(network_type, *sorted(pair)) for network_type, pair in reported} == seen


def test_owners_beside_libbpf_tcplife(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Ours are compared with the truth, like its own."""
    theirs = {str((row.local_port, row.peer_port)): (row.pid, row.comm) for row in run.peer}
    ours_right = theirs_right = 0
    for end in run.ends:
        owner = end.attributes["process.pid"], end.attributes["tcplife.comm"]
        reported = _of(run, _key(end.attributes)).attributes
        ours_right += (reported.get("process.pid"), reported.get("tcplife.comm")) == owner
        theirs_right += theirs.get(str(_key(end.attributes)[1:])) == owner
    with capsys.disabled():
        print(
            f"\nreal servers: of {len(run.ends)} owners of session ends "
            f"ours has {ours_right} right, libbpf tcplife {theirs_right}"
        )
    assert ours_right == len(run.ends)
