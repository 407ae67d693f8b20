"""Every manner of ending a session, in every order, by either side."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from tests.live.matrix.session import LiveEnd, Session

UNREAD = 65536
TIMEOUT_MS = 300

RESETS = ("linger", "unread")
EXITS = ("exit", "kill")
TIMEOUTS = ("vanish", "retransmission")
MANNERS = ("close", *RESETS, *EXITS, *TIMEOUTS)
"""close(2); RST by linger; RST by unread data; exit and SIGKILL with the socket open; the network is cut, and
TCP_USER_TIMEOUT or the count of retransmissions ends it."""

ORDERS = ("first", "second", "half-closed", "simultaneous")


@dataclass(frozen=True)
class Ending:
    """One side ends its end in some manner, in one of the orders."""

    side: str
    order: str
    manner: str

    def __str__(self) -> str:
        return f"{self.side} {self.order} {self.manner}"

    @property
    def cuts(self) -> bool:
        """Whether the network is cut for a while."""
        return self.manner in TIMEOUTS or self.order == "simultaneous"

    def play(self, session: Session) -> None:
        """Exchange some bytes and end both ends."""
        end, other = session.ends_from(self.side)
        end.say(1000, other)
        other.say(2000, end)
        _PLAYS[self.order](session, end, other, self.manner)


ENDINGS = [
    Ending(side, order, manner)
    for order in ORDERS
    for manner in MANNERS
    for side in (("client", "server") if order != "simultaneous" else ("client",))
]


def _first(session: Session, end: LiveEnd, other: LiveEnd, manner: str) -> None:
    if manner in TIMEOUTS:
        _time_out(session, end, other, manner, lambda: _lose(end))
        _after_time_out(session, other, manner)
        return
    if manner == "unread":
        other.fill(UNREAD, end)
    with end.ending():
        if manner in RESETS:
            _end_both_by_reset(end, other, manner, "ECONNRESET")
            return
        _end(end, manner, "local_close")
        other.state("CLOSE_WAIT")
        with other.ending():
            _end(other, "close", "peer_close")


def _second(session: Session, end: LiveEnd, other: LiveEnd, manner: str) -> None:
    if manner == "unread":
        other.fill(UNREAD, end)
    with other.ending():
        _end(other, "close", "local_close")
    end.state("CLOSE_WAIT")
    if manner in TIMEOUTS:
        _time_out(session, end, other, manner, lambda: _lose(end))
        session.network.heal()
        return
    with end.ending():
        _end(end, manner, "local_reset" if manner in RESETS else "peer_close")


def _half_closed(session: Session, end: LiveEnd, other: LiveEnd, manner: str) -> None:
    if manner in TIMEOUTS:
        _time_out(session, end, other, manner, lambda: end.shutdown())
        _after_time_out(session, other, manner)
        return
    end.shutdown()
    other.state("CLOSE_WAIT")
    other.say(3000, end)
    if manner == "unread":
        other.fill(UNREAD, end)
    with end.ending():
        if manner in RESETS:
            _end_both_by_reset(end, other, manner, "EPIPE")
            return
        _end(end, manner, "local_close")
    with other.ending():
        _end(other, "close", "peer_close")


def _simultaneous(session: Session, end: LiveEnd, other: LiveEnd, manner: str) -> None:
    """Both ends are ended before anything of it gets to the other."""
    network = session.network
    if manner == "unread":
        other.fill(UNREAD, end)
        end.fill(UNREAD, other)
    if manner in TIMEOUTS:
        _time_out(session, end, other, manner, lambda: [_lose(each) for each in (end, other)], both=True)
        network.heal()
        return
    network.cut()
    with end.ending(), other.ending():
        for each in (end, other):
            _end(each, manner, "local_reset" if manner in RESETS else "local_close")
            each.retransmits = manner not in RESETS
        network.heal()


_PLAYS: dict[str, Callable[[Session, LiveEnd, LiveEnd, str], None]] = {
    "first": _first,
    "second": _second,
    "half-closed": _half_closed,
    "simultaneous": _simultaneous,
}


def _end(end: LiveEnd, manner: str, reason: str) -> None:
    """Have this end's process end it."""
    end.reason = reason
    assert end.actor
    if manner in EXITS:
        end.actor.leave() if manner == "exit" else end.actor.kill()
        return
    if manner == "linger":
        end.do("linger")
    end.close()


def _end_both_by_reset(end: LiveEnd, other: LiveEnd, manner: str, error: str) -> None:
    with other.ending():
        _end(end, manner, "local_reset")
    other.reason, other.error = "peer_reset", error
    other.close()


def _lose(end: LiveEnd) -> None:
    """Send what will never be acknowledged."""
    end.do("send", 100)


def _time_out(
    session: Session, end: LiveEnd, other: LiveEnd, manner: str, act: Callable[[], object], *, both: bool = False
) -> None:
    """Cut the network and act, so that the end, or both, find out by not being answered."""
    timed = (end, other) if both else (end,)
    if manner == "vanish":
        for each in timed:
            each.do("option", socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TIMEOUT_MS)
        session.network.cut(None if both else other.namespace)
        _until_gone(timed, act)
    else:
        with session.network.impatient():
            session.network.cut()
            _until_gone(timed, act)
    for each in timed:
        each.reason, each.error = "timeout", "ETIMEDOUT"
        each.close()


def _until_gone(timed: tuple[LiveEnd, ...], act: Callable[[], object]) -> None:
    end, *others = timed
    with end.ending():
        if others:
            _until_gone(tuple(others), act)
        else:
            act()


def _after_time_out(session: Session, other: LiveEnd, manner: str) -> None:
    """The other still has its end: it hears of it by a reset, or its process is killed while the network is cut."""
    if manner == "vanish":
        session.network.heal()
        other.reason, other.error = "peer_reset", "ECONNRESET"
        with other.ending():
            other.do("send", 1)
        other.close()
        return
    with session.network.impatient(), other.ending():
        _end(other, "kill", "timeout")
        other.error = "ETIMEDOUT"
    session.network.heal()
