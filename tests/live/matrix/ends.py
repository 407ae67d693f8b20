"""What one end of a session, or one connect, has to be reported as."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from otel_tcplife.conventions import ATTRIBUTES
from tests.live.matrix.network import Namespace
from tests.support.actor import EXECUTABLE, Actor
from tests.support.received import ReceivedLog
from tests.support.stopwatch import Stopwatch

CLOSED, FAILED = "tcplife.session.closed", "tcplife.connect.failed"

NOTHING = ""
"""The event of an end that may not be reported."""

_MEASURED = {
    "tcplife.session.duration",
    "tcplife.handshake.duration",
    "tcplife.rtt.smoothed",
    "tcplife.rtt.min",
    "tcplife.retransmits",
    "container.id",
}
"""Known only within bounds, or nothing that these tests bring about."""

_CLOCK_STEP = 50_000_000
"""ns by which the wall clock may be adjusted while a test runs."""

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
    unreported_syns: int = 0
    """How many SYNs it may have sent again, where that is not reported: by a connect, or a handshake, that failed."""

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
            "tcplife.role": self.role,
            "process.user.id": self.uid,
        }
        if self.ports[0]:
            known["network.local.port"] = self.ports[0]
        if self.owner:
            known |= {
                "process.pid": self.owner.pid,
                "tcplife.comm": self.owner.comm,
                "tcplife.owner.source": self.owner_source,
            }
            if self.executable:
                known["process.executable.name"] = self.executable
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

    def check(self, log: ReceivedLog) -> None:
        """That this is its record, field by field."""
        said = {name: value for name, value in log.attributes.items() if name not in _MEASURED}
        wanted = self.attributes()
        wrong = {name: (said.get(name), wanted.get(name)) for name in sorted(said.keys() | wanted.keys())}
        wrong = {name: pair for name, pair in wrong.items() if pair[0] != pair[1]}
        assert not wrong, f"{self.role}: said and wanted: {wrong}"
        assert log.event_name == self.event
        assert (log.severity_number, log.severity_text) == ((13, "WARN") if self.error else (9, "INFO"))
        assert self.closing.began_unix - _CLOCK_STEP <= log.time_unix_nano <= self.closing.ended_unix + _CLOCK_STEP
        assert log.time_unix_nano <= log.observed_time_unix_nano
        opened, closed = self.opening, self.closing
        if self.event == CLOSED:
            assert ("tcplife.session.duration" in log.attributes) == self.duration
            if self.duration:
                _within(log, "tcplife.session.duration", closed.began - opened.ended, closed.ended - opened.began)
            assert ("tcplife.handshake.duration" in log.attributes) == self.handshake
            if self.handshake:
                _within(log, "tcplife.handshake.duration", 0, opened.ended - opened.began)
            for name in ("tcplife.rtt.smoothed", "tcplife.rtt.min") if self.rtt else ():
                assert 0 < float(log.attributes[name]) * 1e9 < closed.ended - opened.began
        else:
            least = max(0, closed.began - opened.ended)
            _within(log, "tcplife.handshake.duration", least, closed.ended - opened.began)
            assert not log.attributes.keys() & {"tcplife.session.duration", "tcplife.rtt.smoothed", "tcplife.rtt.min"}
        assert int(log.attributes.get("tcplife.retransmits", 1)) > 0
        assert "tcplife.retransmits" in log.attributes or not self.retransmits


def _within(log: ReceivedLog, attribute: str, least: int, most: int) -> None:
    value = round(float(log.attributes[attribute]) * 1e9)
    assert least <= value <= most, f"{attribute}: {value} ns is not from {least} to {most}"
