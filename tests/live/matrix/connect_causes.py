"""Why connects fail."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from tests.live.matrix.network import FAMILIES, IPV4, IPV6, MAPPED, Family
from tests.live.matrix.session import Session

Obstacle = Callable[[Session], AbstractContextManager[object]]


@dataclass(frozen=True)
class Cause:
    """Why connects fail, of the families named."""

    name: str
    error: str
    obstruct: Obstacle
    families: tuple[Family, ...] = FAMILIES
    sends_again: bool = False
    """Whether the SYN must be sent again before it fails."""
    only_veth: bool = False


def _nothing(_: Session) -> AbstractContextManager[object]:
    """Nobody listens; that is enough."""
    return nullcontext()


def at_server(verdict: str) -> Obstacle:
    """What nftables does there to what comes for the port."""
    return lambda session: session.server.namespace.filtering(f"tcp dport {session.target[1]} {verdict}")


def _at_client(verdict: str) -> Obstacle:
    return lambda session: session.client.namespace.filtering(f"tcp dport {session.target[1]} {verdict}", hook="output")


def _impatient(obstacle: Obstacle) -> Obstacle:
    """The kernel does not look at the user timeout before it has sent the SYN again, after a second."""

    def obstruct(session: Session) -> AbstractContextManager[object]:
        session.client.do("option", socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)
        return obstacle(session)

    return obstruct


@contextmanager
def _few_syns(session: Session) -> Generator[None]:
    with session.client.namespace.tuned(tcp_syn_retries=1), at_server("drop")(session):
        yield


def _absent(session: Session) -> AbstractContextManager[object]:
    """Nobody has the address, and the kernel does not ask for it for long."""
    client = session.client
    client.namespace.run(*(f"echo 50 > /proc/sys/net/{ip}/neigh/eth0/retrans_time_ms" for ip in ("ipv4", "ipv6")))
    session.aim(client.addresses[1][:-1] + "9")
    return nullcontext()


def _rejected(kind: str, error: str, families: tuple[Family, ...]) -> Cause:
    """ICMP that comes while connect(2) is still sending is not heeded before the SYN is sent again."""
    return Cause(kind, error, at_server(f"reject with {kind}"), families)


REFUSED = Cause("refused", "ECONNREFUSED", _nothing)
UNANSWERED = Cause("unanswered", "ETIMEDOUT", _impatient(at_server("drop")), sends_again=True)
ABSENT = Cause("absent host", "EHOSTUNREACH", _absent, only_veth=True)

_V4, _V6 = (IPV4, MAPPED), (IPV6,)

OTHERS = (
    Cause("few SYNs", "ETIMEDOUT", _few_syns, sends_again=True),
    Cause("tcp reset", "ECONNREFUSED", at_server("reject with tcp reset")),
    _rejected("icmp type net-unreachable", "ENETUNREACH", _V4),
    _rejected("icmp type host-unreachable", "EHOSTUNREACH", _V4),
    _rejected("icmp type prot-unreachable", "ENOPROTOOPT", _V4),
    _rejected("icmp type port-unreachable", "ECONNREFUSED", _V4),
    _rejected("icmp type net-prohibited", "ENETUNREACH", _V4),
    _rejected("icmp type host-prohibited", "EHOSTUNREACH", _V4),
    _rejected("icmp type admin-prohibited", "EHOSTUNREACH", _V4),
    _rejected("icmpv6 type no-route", "ENETUNREACH", _V6),
    _rejected("icmpv6 type admin-prohibited", "EACCES", _V6),
    _rejected("icmpv6 type addr-unreachable", "EHOSTUNREACH", _V6),
    _rejected("icmpv6 type port-unreachable", "ECONNREFUSED", _V6),
    _rejected("icmpv6 type policy-fail", "EACCES", _V6),
    _rejected("icmpv6 type reject-route", "EACCES", _V6),
    Cause("dropped on the way out", "ETIMEDOUT", _impatient(_at_client("drop")), sends_again=True),
    Cause("rejected on the way out", "ECONNREFUSED", _at_client("reject")),
    Cause("reset on the way out", "ECONNREFUSED", _at_client("reject with tcp reset")),
)
