"""A session of more bytes than 32 bits count, in each direction, over loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.actor import Actor, run_actor
from tests.support.host_agent import HostAgent
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.received import ReceivedLog, read_otlp_json_lines

_BY_CLIENT, _BY_SERVER = (4 << 30) + 12345, (4 << 30) + 67890


@dataclass
class Large:
    """The session, and where an agent that saw all of it and one that came later wrote what they know."""

    session: Session
    watched: Path
    adopted: Path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    watched, adopted = (tmp_path_factory.mktemp(name) for name in ("watched", "adopted"))
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        session = Session(FAMILIES[0], client, server)
        with HostAgent(["--otlp-file", str(watched), "--no-table"]):
            session.open()
            _pour(client, "c", server, "s", _BY_CLIENT)
            _pour(server, "s", client, "c", _BY_SERVER)
            with HostAgent(["--otlp-file", str(adopted), "--no-table"]):
                session.exchange(7, 11)
                client.tell("close", "c")
                assert server.tell("receive", "s", 1) == 0
                server.tell("close", "s")
        yield Large(session, watched, adopted)


def _pour(sender: Actor, from_name: str, receiver: Actor, to_name: str, size: int) -> None:
    sending = threading.Thread(target=sender.tell, args=("pour", from_name, size))
    sending.start()
    assert receiver.tell("discard", to_name, size) == size
    sending.join()


def _end(directory: Path, session: Session, role: str) -> ReceivedLog:
    ports = session.client_port, session.server_port
    wanted = ports if role == "client" else ports[::-1]
    [found] = [
        log
        for log in read_otlp_json_lines(directory / "logs.jsonl").logs
        if log.ports == wanted and not log.is_elsewhere
    ]
    return found


def _exact(large: Large, role: str) -> dict[str, object]:
    sent = _BY_CLIENT + large.session.sent_by_client, _BY_SERVER + large.session.sent_by_server
    return {
        "tcplife.role": role,
        "tcplife.bytes.sent": sent[role == "server"],
        "tcplife.bytes.received": sent[role == "client"],
        "tcplife.close.reason": "local_close" if role == "client" else "peer_close",
    }


@pytest.mark.parametrize("role", ["client", "server"])
def test_each_byte_is_counted(large: Large, role: str) -> None:
    log, wanted = _end(large.watched, large.session, role), _exact(large, role)
    assert {key: log.attributes.get(key) for key in wanted} == wanted
    assert float(log.attributes["tcplife.session.duration"]) > 0
    assert f", {wanted['tcplife.bytes.sent']} bytes sent, " in log.body


@pytest.mark.parametrize("role", ["client", "server"])
def test_of_a_session_that_was_open_before_tracing_too(large: Large, role: str) -> None:
    """Its role is what the count of bytes that were acknowledged says of the SYN."""
    log, wanted = _end(large.adopted, large.session, role), _exact(large, role)
    assert {key: log.attributes.get(key) for key in wanted} == wanted
    assert log.attributes["tcplife.start_observed"] is False


@pytest.mark.parametrize("role", ["client", "server"])
def test_the_histogram_has_it_above_its_last_bound(large: Large, role: str) -> None:
    points = read_otlp_json_lines(large.watched / "metrics.jsonl").points
    for direction in ("transmit", "receive"):
        [*_, io] = [
            point
            for point in points
            if point.name == "tcplife.session.io"
            and point.attributes["network.io.direction"] == direction
            and point.attributes.get("tcplife.role") == role
            and point.attributes.get("process.executable.name") == large.session.client.executable
            and (point.max or 0) >= min(_BY_CLIENT, _BY_SERVER)
        ]
        sent = _exact(large, role)["tcplife.bytes.sent" if direction == "transmit" else "tcplife.bytes.received"]
        assert io.explicit_bounds[-1] == 1 << 32
        assert io.bucket_counts[-1] >= 1
        assert io.max == sent
