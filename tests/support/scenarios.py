"""Sessions of every kind between two actors, and what each of their ends must be reported as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.actor import Actor, run_actor
from tests.support.expected_end import FAILED, ExpectedEnd
from tests.support.peer_network import peer_network
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Family, Session, sent_again_by_all
from tests.support.stopwatch import Stopwatch

SIZES = {"sent by the client": 3 << 20, "sent by the server": (3 << 20) + 12345}

Play = Callable[[Session], tuple[dict[str, Any], dict[str, Any]]]
"""Plays a session and returns what is special about its client's end and its server's."""


def client_closes_first(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    session.exchange(1000, 2000)
    with session.ending():
        session.client.tell("close", "c")
    assert session.server.tell("receive", "s", 1) == 0
    with session.ending():
        session.server.tell("close", "s")
    return {"tcplife.close.reason": "local_close"}, {"tcplife.close.reason": "peer_close"}


def server_closes_first(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    session.exchange(1, 0)
    with session.ending():
        session.server.tell("close", "s")
    assert session.client.tell("receive", "c", 1) == 0
    with session.ending():
        session.client.tell("close", "c")
    return {"tcplife.close.reason": "peer_close"}, {"tcplife.close.reason": "local_close"}


def half_close(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    session.exchange(500, 0)
    with session.ending():
        session.client.tell("shutdown", "c")
    assert session.server.tell("receive", "s", 1) == 0
    session.exchange(0, 70000)
    with session.ending():
        session.server.tell("close", "s")
    session.client.tell("close", "c")
    return {"tcplife.close.reason": "local_close"}, {"tcplife.close.reason": "peer_close"}


def megabytes_each_way(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    session.exchange(*SIZES.values())
    return client_closes_first(session)


def client_resets(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    session.exchange(10, 20)
    with session.ending():
        session.client.reset("c")
    session.server.tell("close", "s")
    return (
        {"tcplife.close.reason": "local_reset"},
        {"tcplife.close.reason": "peer_reset", "error.type": "ECONNRESET"},
    )


def server_resets(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    session.exchange(10, 20)
    with session.ending():
        session.server.reset("s")
    session.client.tell("close", "c")
    return (
        {"tcplife.close.reason": "peer_reset", "error.type": "ECONNRESET"},
        {"tcplife.close.reason": "local_reset"},
    )


def client_is_killed(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    session.exchange(4000, 5000)
    with session.ending():
        session.client.kill()
    assert session.server.tell("receive", "s", 1) == 0
    with session.ending():
        session.server.tell("close", "s")
    return {"tcplife.close.reason": "local_close"}, {"tcplife.close.reason": "peer_close"}


def server_is_killed(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    session.exchange(4000, 5000)
    with session.ending():
        session.server.kill()
    assert session.client.tell("receive", "c", 1) == 0
    with session.ending():
        session.client.tell("close", "c")
    return {"tcplife.close.reason": "peer_close"}, {"tcplife.close.reason": "local_close"}


PLAYS: tuple[Play, ...] = (
    client_closes_first,
    server_closes_first,
    half_close,
    megabytes_each_way,
    client_resets,
    server_resets,
    client_is_killed,
    server_is_killed,
)

_SERVER_UID = 65534


def play(family: Family, action: Play) -> list[ExpectedEnd]:
    """Play one session between two new processes; return its two ends."""
    with run_actor(CLIENT) as client, run_actor(SERVER, uid=_SERVER_UID) as server:
        return play_between(client, server, family, action)


def play_between(client: Actor, server: Actor, family: Family, action: Play) -> list[ExpectedEnd]:
    """Play one session between two processes; return its two ends."""
    session = Session(family, client, server)
    session.open()
    special = action(session)
    session.wait_until_gone()
    meanwhile = sent_again_by_all() - session.sent_again_by_all
    return [
        _end(session, role, f"{family.name} {action.__name__}", own, meanwhile)
        for role, own in zip(("client", "server"), special)
    ]


def _end(session: Session, role: str, scenario: str, special: dict[str, Any], sent_again_meanwhile: int) -> ExpectedEnd:
    """The end of the client or of the server."""
    is_client = role == "client"
    ports = session.client_port, session.server_port
    sent = session.sent_by_client, session.sent_by_server
    connecting, closing = session.connecting, session.closing
    # A CPU that is busy may handle the last packet when the last step is long done
    longest = session.going.ended - connecting.began
    attributes: dict[str, Any] = {
        "tcplife.role": role,
        "tcplife.owner.source": "connect" if is_client else "close",
        "tcplife.bytes.sent": sent[not is_client],
        "tcplife.bytes.received": sent[is_client],
        "error.type": None,
        **_identity(
            session.family,
            session.client if is_client else session.server,
            ports if is_client else (ports[1], ports[0]),
        ),
        **special,
    }
    sent_again = session.sent_again[role]
    return ExpectedEnd(
        scenario,
        attributes,
        measured={
            "tcplife.session.duration": (closing[0].began - connecting.ended, longest),
            "tcplife.handshake.duration": (0, connecting.ended - connecting.began),
            "tcplife.rtt.min": (1, longest),
            "tcplife.rtt.smoothed": (1, longest),
        },
        closed=(closing[0].began_unix, session.going.ended_unix),
        created=(session.client if is_client else session.server).origin.created,
        retransmits=(sent_again, sent_again + sent_again_meanwhile),
    )


def refused(family: Family) -> list[ExpectedEnd]:
    """Connect to a port that nobody listens on, with a new process."""
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        return refused_between(client, server, family)


def refused_between(client: Actor, server: Actor, family: Family) -> list[ExpectedEnd]:
    """Connect to a port that the server listens on no more."""
    port = server.tell("listen", "listener", family.listen)
    server.tell("close", "listener")
    with Stopwatch() as connecting:
        local_port, error = client.connect("c", family.connect, port)
    assert error == "ECONNREFUSED"
    attributes = {
        "tcplife.role": "client",
        "tcplife.owner.source": "connect",
        "error.type": "ECONNREFUSED",
        "tcplife.bytes.sent": None,
        "tcplife.bytes.received": None,
        "tcplife.close.reason": None,
        **_identity(family, client, (local_port, port)),
    }
    return [
        ExpectedEnd(
            f"{family.name} refused",
            attributes,
            FAILED,
            measured={
                "tcplife.session.duration": None,
                "tcplife.handshake.duration": (0, connecting.ended - connecting.began),
                "tcplife.rtt.min": None,
                "tcplife.rtt.smoothed": None,
            },
            closed=(connecting.began_unix, connecting.ended_unix),
            created=client.origin.created,
            retransmits=(0, 0),
        )
    ]


def play_all() -> list[ExpectedEnd]:
    """Every session of every family, one after the other."""
    ends: list[ExpectedEnd] = []
    for family in FAMILIES:
        for action in PLAYS:
            ends += play(family, action)
        ends += refused(family)
    return ends


def _identity(family: Family, actor: Actor, ports: tuple[int, int]) -> dict[str, Any]:
    return {
        "network.transport": "tcp",
        "network.type": family.network_type,
        "network.local.address": family.address,
        "network.peer.address": family.address,
        "network.local.port": ports[0],
        "network.peer.port": ports[1],
        "tcplife.peer.network": peer_network(family.address),
        "process.pid": actor.pid,
        "tcplife.comm": actor.comm,
        "process.executable.name": actor.executable,
        "process.user.id": actor.uid,
        "process.real_user.id": None,
        "tcplife.socket.user.id": None,
        "process.parent_pid": actor.origin.parent_pid,
        "process.vpid": None,
    }
