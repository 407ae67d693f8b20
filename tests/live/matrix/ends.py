"""One end of a session, or one connect, while it is played."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from otel_tcplife.conventions import ATTRIBUTES
from otel_tcplife.probe.btf import read_kernel_btf
from tests.live.matrix.network import Namespace
from tests.support.actor import EXECUTABLE, Actor
from tests.support.expected_end import ANY_NUMBER, CLOSED, ExpectedEnd
from tests.support.peer_network import peer_network
from tests.support.stopwatch import Stopwatch

NOTHING = ""
"""The event of an end that may not be reported."""

COUNTS_TIMEOUTS = read_kernel_btf().has("tcp_sock", "total_rto")

_ROUND_TRIPS = {"tcplife.rtt.smoothed", "tcplife.rtt.min"}

Key = tuple[str, int, str, int]


@dataclass(eq=False)
class End:
    """One end, filled in while it is played; its windows are bounds of when it opened and closed."""

    role: str
    namespace: Namespace
    network_type: str
    addresses: tuple[str, str]
    """Local and peer."""
    ports: tuple[int, int] = (0, 0)
    """Local, 0 if it has none, and peer."""
    event: str = CLOSED
    owner: Actor | None = None
    owner_source: str = ""
    uid: int = 0
    executable: str | None = EXECUTABLE
    sent: int = 0
    received: int = 0
    reason: str = ""
    error: str | None = None
    opening: Stopwatch = field(default_factory=Stopwatch)
    closing: Stopwatch = field(default_factory=Stopwatch)
    retransmits: bool = False
    """Whether it must have retransmitted something."""
    rtt: bool = True
    """Whether the kernel must have an estimate of the round trip time."""
    handshake: bool = True
    """Whether the kernel must know how long the handshake took; if not, it cannot."""
    duration: bool = True
    """Whether the kernel must know how long it was ESTABLISHED; if not, it cannot."""
    handshake_retransmits: bool = False
    """Whether it must have retransmitted a SYN or a SYN-ACK."""
    out_of_order: bool = False
    """Whether it must have received something out of order."""
    unreported_syns: int = 0
    """How many SYN-ACKs it may have sent again where that is not reported, as its handshake failed."""

    @property
    def key(self) -> Key:
        """What tells its records from others'."""
        return self.addresses[0], self.ports[0], self.addresses[1], self.ports[1]

    def attributes(self) -> dict[str, Any]:
        """All attributes of its record that are known exactly."""
        known: dict[str, Any] = {
            "network.transport": "tcp",
            "network.type": self.network_type,
            "network.local.address": self.addresses[0],
            "network.peer.address": self.addresses[1],
            "network.peer.port": self.ports[1],
            "tcplife.peer.network": peer_network(self.addresses[1]),
            "tcplife.role": self.role,
        }
        if self.ports[0]:
            known["network.local.port"] = self.ports[0]
        if self.owner:
            known |= {
                "process.pid": self.owner.pid,
                "tcplife.comm": self.owner.comm,
                "tcplife.owner.source": self.owner_source,
                "process.parent_pid": self.owner.origin.parent_pid,
                "process.user.id": self.owner.uid,
            }
            if self.executable:
                known["process.executable.name"] = self.executable
        if not self.owner or self.uid != self.owner.uid:
            known["tcplife.socket.user.id"] = self.uid
        if self.event == CLOSED:
            known |= {
                "tcplife.bytes.sent": self.sent,
                "tcplife.bytes.received": self.received,
                "tcplife.close.reason": self.reason,
            }
        if self.error:
            known["error.type"] = self.error
        if not self.namespace.own and any(attribute.name == "tcplife.netns" for attribute in ATTRIBUTES):
            known["tcplife.netns"] = self.namespace.inode
        return known

    def expected(self) -> ExpectedEnd:
        """What is known of it now that it has been played."""
        opened, closed = self.opening, self.closing
        unspecified = {"process.linux.cgroup"}
        longest = closed.ended - opened.began
        measured: dict[str, tuple[int, int] | None] = {"tcplife.session.duration": None}
        if self.event == CLOSED:
            if self.duration:
                measured["tcplife.session.duration"] = closed.began - opened.ended, longest
            measured["tcplife.handshake.duration"] = (0, opened.ended - opened.began) if self.handshake else None
            if self.rtt:
                measured |= dict.fromkeys(_ROUND_TRIPS, (1, longest))
            else:
                unspecified |= _ROUND_TRIPS
        else:
            measured["tcplife.handshake.duration"] = max(0, closed.began - opened.ended), longest
            measured |= dict.fromkeys(_ROUND_TRIPS)
        return ExpectedEnd(
            str(self.key),
            self.attributes(),
            self.event,
            exhaustive=True,
            unspecified=frozenset(unspecified),
            measured=measured,
            at_least={
                "tcplife.handshake.retransmits": int(self.handshake_retransmits),
                "tcplife.retransmission_timeouts": int(self.handshake_retransmits and COUNTS_TIMEOUTS),
                "tcplife.segments.out_of_order": int(self.out_of_order),
            },
            retransmits=(int(self.retransmits or self.handshake_retransmits), ANY_NUMBER),
            closed=(closed.began_unix, closed.ended_unix),
            created=self.owner.origin.created if self.owner else None,
        )
