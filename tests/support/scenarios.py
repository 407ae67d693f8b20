"""Sessions of which everything is known: what each end must be reported as."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_tcplife.conventions import ATTRIBUTES
from tests.support.actor import Actor, run_actor
from tests.support.proc_net import tcp_counters
from tests.support.received import ReceivedLog
from tests.support.sock_diag import Diag, settle
from tests.support.stopwatch import Stopwatch

SIZES = {"sent by the client": 3 << 20, "sent by the server": (3 << 20) + 12345}

CLIENT, SERVER = "act-client", "act-server"

_CLOCK_STEP = 50_000_000
"""ns by which the wall clock may be adjusted while a test runs."""


@dataclass(frozen=True)
class Family:
    """How the two ends address each other."""

    name: str
    listen: str
    connect: str
    network_type: str
    address: str


FAMILIES = (
    Family("IPv4", "127.0.0.1", "127.0.0.1", "ipv4", "127.0.0.1"),
    Family("IPv6", "::1", "::1", "ipv6", "::1"),
    Family("mapped", "::", "127.0.0.1", "ipv4", "127.0.0.1"),
)


@dataclass
class End:
    """What one end of a session must be reported as."""

    scenario: str
    event: str
    attributes: dict[str, Any]
    absent: set[str]
    duration: tuple[int, int] | None = None
    """Least and most ns."""
    handshake: tuple[int, int] | None = None
    closed: tuple[int, int] = (0, 0)
    """Earliest and latest Unix ns."""
    retransmits: tuple[int, int] = (0, 0)
    """Least and most segments that were sent again: a kernel whose CPUs are busy may do so though nothing is lost."""

    @property
    def ports(self) -> tuple[int, int]:
        """Local and peer port: they tell this end from all others."""
        return self.attributes["network.local.port"], self.attributes["network.peer.port"]

    def check(self, log: ReceivedLog) -> None:
        """That this is its record, field by field."""
        reported = {key: log.attributes.get(key) for key in self.attributes}
        assert reported == self.attributes
        assert not self.absent & log.attributes.keys()
        assert log.event_name == self.event
        failed = "error.type" in self.attributes
        assert (log.severity_number, log.severity_text) == ((13, "WARN") if failed else (9, "INFO"))
        assert self.closed[0] - _CLOCK_STEP <= log.time_unix_nano <= self.closed[1] + _CLOCK_STEP
        assert log.time_unix_nano <= log.observed_time_unix_nano
        _within(log, "tcplife.session.duration", self.duration)
        _within(log, "tcplife.handshake.duration", self.handshake)
        sent_again = int(log.attributes.get("tcplife.retransmits", 0))
        assert self.retransmits[0] <= sent_again <= self.retransmits[1]
        assert bool(sent_again) == ("tcplife.retransmits" in log.attributes)
        assert log.attributes.keys() <= {attribute.name for attribute in ATTRIBUTES}


def _within(log: ReceivedLog, attribute: str, bounds: tuple[int, int] | None) -> None:
    if bounds is None:
        assert attribute not in log.attributes
    else:
        assert bounds[0] / 1e9 <= float(log.attributes[attribute]) <= bounds[1] / 1e9


@dataclass
class Session:
    """A session between two actors, while it is played."""

    family: Family
    client: Actor
    server: Actor
    client_port: int = 0
    server_port: int = 0
    sent_by_client: int = 0
    sent_by_server: int = 0
    connecting: Stopwatch = field(default_factory=Stopwatch)
    closing: list[Stopwatch] = field(default_factory=list[Stopwatch])
    sent_again: dict[str, int] = field(default_factory=dict[str, int])
    """Segments that the client and the server had sent again right before the first step that ends an end."""
    sent_again_by_all: int = 0
    """And all sockets of the network namespace before that."""

    def open(self) -> None:
        """Establish it."""
        self.server_port = self.server.tell("listen", "listener", self.family.listen)
        with self.connecting:
            self.client_port, error = self.client.connect("c", self.family.connect, self.server_port)
        assert not error
        self.server.tell("accept", "listener", "s")

    def exchange(self, by_client: int, by_server: int) -> None:
        """Send and receive in both directions, in pieces that fit into the buffers."""
        for sender, receiver, names, size in (
            (self.client, self.server, ("c", "s"), by_client),
            (self.server, self.client, ("s", "c"), by_server),
        ):
            left = size
            while left:
                piece = min(left, 65536)
                sender.tell("send", names[0], piece)
                assert receiver.tell("receive", names[1], piece) == piece
                left -= piece
        self.sent_by_client += by_client
        self.sent_by_server += by_server

    @contextmanager
    def ending(self) -> Generator[None]:
        """Times a step that ends one end or both."""
        if not self.closing:
            self.sent_again_by_all = _sent_again_by_all()
            self.sent_again = {
                "client": self.client.tell("sent_again", "c"),
                "server": self.server.tell("sent_again", "s"),
            }
        with Stopwatch() as stopwatch:
            yield
        self.closing.append(stopwatch)

    def wait_until_gone(self) -> None:
        """Wait until neither end has a socket any more."""
        diag, address = Diag(Path("/proc/self/ns/net")), self.family.address
        for own, peer in ((self.client_port, self.server_port), (self.server_port, self.client_port)):
            while diag.state((address, own, address, peer)):
                time.sleep(0.001)
        settle()


def _sent_again_by_all() -> int:
    return tcp_counters(Path("/proc/self"))["RetransSegs"]


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


def play(family: Family, action: Play) -> list[End]:
    """Play one session between two new processes; return its two ends."""
    with run_actor(CLIENT) as client, run_actor(SERVER, uid=_SERVER_UID) as server:
        return play_between(client, server, family, action)


def play_between(client: Actor, server: Actor, family: Family, action: Play) -> list[End]:
    """Play one session between two processes; return its two ends."""
    session = Session(family, client, server)
    session.open()
    special = action(session)
    session.wait_until_gone()
    sent_again_meanwhile = _sent_again_by_all() - session.sent_again_by_all
    sent = session.sent_by_client, session.sent_by_server
    ports = session.client_port, session.server_port
    name = f"{family.name} {action.__name__}"
    connected = session.connecting.ended - session.connecting.began
    duration = (
        session.closing[0].began - session.connecting.ended,
        session.closing[-1].ended - session.connecting.began,
    )
    closed = session.closing[0].began_unix, session.closing[-1].ended_unix
    ends: list[End] = []
    for role, actor, own in (("client", client, special[0]), ("server", server, special[1])):
        mine = {
            "tcplife.role": role,
            "tcplife.owner.source": "connect" if role == "client" else "close",
            "tcplife.bytes.sent": sent[role == "server"],
            "tcplife.bytes.received": sent[role == "client"],
            **_identity(family, actor, ports if role == "client" else (ports[1], ports[0])),
            **own,
        }
        absent = {key for key, value in mine.items() if value is None}
        absent |= {"error.type"} - mine.keys()
        sent_again = session.sent_again[role]
        ends.append(
            End(
                name,
                "tcplife.session.closed",
                {key: value for key, value in mine.items() if value is not None},
                absent,
                duration=duration,
                handshake=(0, connected),
                closed=closed,
                retransmits=(sent_again, sent_again + sent_again_meanwhile),
            )
        )
    return ends


def refused(family: Family) -> list[End]:
    """Connect to a port that nobody listens on, with a new process."""
    with run_actor(CLIENT) as client, run_actor(SERVER) as server:
        return refused_between(client, server, family)


def refused_between(client: Actor, server: Actor, family: Family) -> list[End]:
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
        **_identity(family, client, (local_port, port)),
    }
    absent = {
        "tcplife.session.duration", "tcplife.bytes.sent", "tcplife.bytes.received", "tcplife.close.reason",
        "tcplife.rtt.smoothed", "tcplife.rtt.min",
    }  # fmt: skip
    return [
        End(
            f"{family.name} refused",
            "tcplife.connect.failed",
            attributes,
            absent,
            handshake=(0, connecting.ended - connecting.began),
            closed=(connecting.began_unix, connecting.ended_unix),
        )
    ]


def play_all() -> list[End]:
    """Every session of every family, one after the other."""
    ends: list[End] = []
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
        "process.pid": actor.pid,
        "tcplife.comm": actor.comm,
        "process.executable.name": actor.executable,
        "process.user.id": actor.uid,
    }
