"""What each end of a session between real programs must be reported as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.live.servers.program import Process
from tests.support.expected_end import FAILED, ExpectedEnd
from tests.support.peer_network import peer_network
from tests.support.received import Scalar

Side = str
"""`client` or `server`."""

Expected = Mapping[str, Scalar | None]
"""Attributes and their values; None for one that must be absent."""

Special = Mapping[Side, Expected]
"""What is special about an end."""

NOTHING_SPECIAL: Special = {}


@dataclass(frozen=True)
class Session:
    """A session, with what its programs and /proc say of it; what they do not say the wire knows."""

    scenario: str
    client: Process
    server: Process
    client_port: int
    server_port: int
    address: str = "127.0.0.1"
    by_client: int | None = None
    by_server: int | None = None
    closes_first: Side | None = None
    wire_knows: Side | None = None
    """The end of which it depends on who was faster how it ended."""
    special: Special = field(default_factory=lambda: NOTHING_SPECIAL)
    at_least: Mapping[Side, Mapping[str, int]] = field(default_factory=dict[Side, Mapping[str, int]])

    def ends(self) -> list[ExpectedEnd]:
        """Both of them."""
        client, server = (self.client_port, self.by_client), (self.server_port, self.by_server)
        return [self._end("client", self.client, client, server), self._end("server", self.server, server, client)]

    def _end(
        self, side: Side, owner: Process, own: tuple[int, int | None], peer: tuple[int, int | None]
    ) -> ExpectedEnd:
        """Port and bytes of this end and of its peer."""
        known: dict[str, Scalar] = {}
        for name, (_, size) in (("tcplife.bytes.sent", own), ("tcplife.bytes.received", peer)):
            if size is not None:
                known[name] = size
        if self.closes_first:
            known["tcplife.close.reason"] = "local_close" if side == self.closes_first else "peer_close"
        attributes = {
            **identity(owner, self.address, (own[0], peer[0])),
            "tcplife.role": side,
            "tcplife.owner.source": "connect" if side == "client" else "close",
            "error.type": None,
            "tcplife.start_observed": None,
            **known,
            **self.special.get(side, {}),
        }
        if side == self.wire_knows:
            del attributes["tcplife.close.reason"], attributes["error.type"]
        return ExpectedEnd(self.scenario, attributes, at_least=self.at_least.get(side, {}))


def identity(owner: Process, address: str, ports: tuple[int, int]) -> dict[str, Scalar | None]:
    """Who and where one end is."""
    return {
        "network.type": "ipv6" if ":" in address else "ipv4",
        "network.local.address": address,
        "network.peer.address": address,
        "network.local.port": ports[0],
        "network.peer.port": ports[1],
        "tcplife.peer.network": peer_network(address),
        "process.pid": owner.pid,
        "tcplife.comm": owner.comm,
        "process.executable.name": owner.executable,
        "process.user.id": owner.uid,
    }


def failed_connect(scenario: str, client: Process, address: str, ports: tuple[int, int], error: str) -> ExpectedEnd:
    """The one end of a session that never was."""
    return ExpectedEnd(
        scenario,
        {
            **identity(client, address, ports),
            "tcplife.role": "client",
            "tcplife.owner.source": "connect",
            "error.type": error,
            "tcplife.bytes.sent": None,
            "tcplife.bytes.received": None,
            "tcplife.close.reason": None,
            "tcplife.session.duration": None,
        },
        FAILED,
    )
