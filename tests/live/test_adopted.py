"""Sessions that were open before tracing began."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.actor import run_actor
from tests.support.host_agent import HostAgent
from tests.support.origin import unix_ns
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Family, Session
from tests.support.received import ReceivedLog, read_otlp_json_lines


class Adopted:
    """A session that an agent finds open, and what was reported of it."""

    def __init__(self, session: Session, directory: Path) -> None:
        self.session = session
        self._directory = directory

    def end(self, local: int, peer: int) -> ReceivedLog:
        """The one record of the end with these ports."""
        logs = read_otlp_json_lines(self._directory / "logs.jsonl").logs
        found = [log for log in logs if log.ports == (local, peer) and not log.is_elsewhere]
        assert len(found) == 1
        return found[0]


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def adopted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopted]:
    """Bytes go both ways before tracing begins and while it goes on; then the client closes, and the server."""
    family: Family = request.param
    directory = tmp_path_factory.mktemp("adopted")
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        session = Session(family, client, server)
        session.open()
        session.exchange(100_000, 1)
        with HostAgent(["--otlp-file", str(directory), "--no-table"]):
            session.exchange(23, 70_000)
            client.tell("close", "c")
            assert server.tell("receive", "s", 1) == 0
            server.tell("close", "s")
        yield Adopted(session, directory)


@pytest.mark.parametrize("role", ["client", "server"])
def test_what_is_known_of_it_is_reported_once_and_exactly(adopted: Adopted, role: str) -> None:
    session = adopted.session
    ports = session.client_port, session.server_port
    sent = session.sent_by_client, session.sent_by_server
    actor = session.client if role == "client" else session.server
    log = adopted.end(*(ports if role == "client" else ports[::-1]))
    wanted = {
        "tcplife.start_observed": False,
        "tcplife.owner.source": "adopted",
        "process.pid": actor.pid,
        "tcplife.comm": actor.comm,
        "process.executable.name": actor.executable,
        "process.parent_pid": os.getpid(),
        "process.user.id": 0,
        "tcplife.role": role,
        "network.type": session.family.network_type,
        "tcplife.bytes.sent": sent[role == "server"],
        "tcplife.bytes.received": sent[role == "client"],
        "tcplife.close.reason": "local_close" if role == "client" else "peer_close",
    }
    assert {key: log.attributes.get(key) for key in wanted} == wanted
    assert log.attributes["tcplife.start_observed"] is False
    earliest, latest = actor.origin.created
    assert earliest <= unix_ns(str(log.attributes["process.creation.time"])) <= latest
    assert not {"tcplife.session.duration", "tcplife.handshake.duration", "error.type"} & log.attributes.keys()


def test_a_socket_of_several_processes_belongs_to_the_one_that_closes_it(tmp_path: Path) -> None:
    """A forked child has its parent's descriptors: which of them owns the session is seen only at the end."""
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        session = Session(FAMILIES[0], client, server)
        session.open()
        child = server.fork("act-child")
        with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]):
            client.tell("close", "c")
            server.tell("close", "s")
            child.leave()
        log = Adopted(session, tmp_path).end(session.server_port, session.client_port)
    assert log.attributes["tcplife.owner.source"] == "close"
    assert log.attributes["process.pid"] == child.pid
