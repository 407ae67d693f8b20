"""Odd endings: shutdown(2), resets with data under way, loss, silence and ICMP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from tests.live.matrix.endings import TIMEOUT_MS, UNREAD
from tests.live.matrix.ends import End
from tests.live.matrix.network import IPV6
from tests.live.matrix.reused_sockets import add_reused_sockets
from tests.live.matrix.session import LiveEnd, Session, in_session
from tests.live.matrix.stage import Programme
from tests.support.sock_diag import can_destroy

_MEGABYTE = 1 << 20

_UNREACHABLE = "reject with icmpx type host-unreachable"

_RECVERR = {"ipv4": (socket.IPPROTO_IP, 11), "ipv6": (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR and IPV6_RECVERR."""


def _to(end: LiveEnd) -> str:
    """Of an nftables rule: what comes for this end."""
    return f"tcp dport {end.ports[0]}"


def _shut_down(end: LiveEnd, other: LiveEnd) -> None:
    """It can neither send nor receive when the other closes."""
    end.reason, other.reason = "local_close", "peer_close"
    end.shutdown(socket.SHUT_RDWR)
    other.state("CLOSE_WAIT")
    with end.ending(), other.ending():
        other.close()
    end.close()


def _shut_down_and_told(end: LiveEnd, other: LiveEnd) -> None:
    """What comes for one that can receive no more is answered by a reset."""
    end.resets(other, "EPIPE")
    end.error = "ECONNRESET"
    end.shutdown(socket.SHUT_RDWR)
    other.state("CLOSE_WAIT")
    with end.ending(), other.ending():
        other.do("send", 100)
    end.close()
    other.close()


def _closed_and_told(end: LiveEnd, other: LiveEnd) -> None:
    """The same of one that is closed, whose FIN does not get through."""
    end.resets(other)
    end.error = "ECONNRESET"
    with other.ending():
        with other.namespace.filtering(f"{_to(other)} drop"), end.ending():
            end.close()
            end.state("FIN_WAIT1")
            other.do("send", 3000)
        other.retransmits = True
    other.close()


def _closed_and_told_with_acknowledgement(end: LiveEnd, other: LiveEnd) -> None:
    """Its FIN has got through, as the data say that come for it: it has closed in order before them."""
    end.reason, other.reason, other.error = "local_close", "peer_reset", "EPIPE"
    with end.ending(), other.ending():
        with end.namespace.filtering(f"{_to(end)} drop"):
            end.close()
            other.state("CLOSE_WAIT")
        other.do("send", 3000)
    other.close()


def _aborted(end: LiveEnd, other: LiveEnd) -> None:
    """Somebody else ends it, as with `ss -K`."""
    end.resets(other)
    end.error = "ECONNABORTED"
    with end.ending(), other.ending():
        end.namespace.destroy(end.key)
    end.close()
    other.close()


def _never_heard(end: LiveEnd, other: LiveEnd) -> None:
    """What one sends, and its reset, does not get through."""
    end.resets(other)
    with other.namespace.filtering(f"{_to(other)} drop"):
        end.do("send", 5000)
        end.do("linger")
        with end.ending():
            end.close()
    other.hears_of_it()


def _reset_unheard(end: LiveEnd, other: LiveEnd) -> None:
    """What one sends does not get through, and the other resets."""
    other.resets(end)
    other.do("linger")
    with other.namespace.filtering(f"{_to(other)} drop"), end.ending(), other.ending():
        end.do("send", 5000)
        other.close()
    end.close()


def _reset_unread(end: LiveEnd, other: LiveEnd) -> None:
    """It has received something that it has not read when the reset comes."""
    other.fill(UNREAD, end)
    other.resets(end)
    other.do("linger")
    with end.ending(), other.ending():
        other.close()
    end.close()


def _reset_out_of_order(end: LiveEnd, other: LiveEnd) -> None:
    """The bytes that came out of order count for neither end."""
    end.resets(other)
    end.do("option", socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the second would wait for the first
    end.do("linger")
    with other.namespace.filtering(f"{_to(other)} meta length 540-600 drop"):
        end.do("send", 500)
        end.do("send", 300)
        with end.ending(), other.ending():
            end.close()
    other.out_of_order = True
    other.close()


def _reset_in_flight(session: Session, end: LiveEnd, other: LiveEnd) -> None:
    """Both have sent something that has not arrived, when one resets."""
    end.resets(other)
    session.network.cut()
    for each in (end, other):
        each.do("send", 3000)
    end.do("linger")
    with end.ending():
        end.close()
    with other.ending():
        session.network.heal()
    other.retransmits = True
    other.close()


def _fin_lost(end: LiveEnd, other: LiveEnd) -> None:
    end.reason, other.reason = "local_close", "peer_close"
    first = f"{_to(other)} tcp flags & fin == fin numgen inc mod 1000000 == 0 drop"
    with other.namespace.filtering(first), end.ending(), other.ending():
        end.close()
        other.state("CLOSE_WAIT")
        other.close()
    end.retransmits = True


def _kept_alive(session: Session, end: LiveEnd, other: LiveEnd) -> None:
    """Nothing is sent, and the probe is not answered."""
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
        end.do("option", socket.IPPROTO_TCP, option, 1)
    end.reason, end.error = "timeout", "ETIMEDOUT"
    session.network.cut()
    with end.ending():
        end.do("option", socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.close()
    session.network.heal()
    other.hears_of_it()


def _unreachable(end: LiveEnd, other: LiveEnd) -> None:
    """The errno is what ICMP said of the packets that were not answered, until the kernel gave up."""
    end.do("option", socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TIMEOUT_MS)
    end.reason, end.error = "timeout", "EHOSTUNREACH"
    with other.namespace.filtering(f"{_to(other)} {_UNREACHABLE}"), end.ending():
        end.do("send", 100)
    end.close()
    other.hears_of_it()


def _unreachable_for_a_while(session: Session, end: LiveEnd, other: LiveEnd) -> None:
    """A socket that wants to be told of ICMP keeps the error until it is asked for it, though the session goes on."""
    end.do("option", *_RECVERR["ipv6" if session.family is IPV6 else "ipv4"], 1)
    with other.namespace.filtering(f"{_to(other)} numgen inc mod 1000000 < 2 {_UNREACHABLE}"):
        end.say(100, other)
    end.retransmits = True
    session.end("client" if end is session.client else "server")
    end.error = "EHOSTUNREACH"


def _shut_down_reading(session: Session, end: LiveEnd, other: LiveEnd) -> None:
    """Linux receives all the same."""
    end.do("shutdown", socket.SHUT_RD)
    other.say(1000, end)
    session.end("client" if end is session.client else "server")


def _lossy(session: Session) -> list[End]:
    """Each end gets only two of three packets for a second, while both send and receive a megabyte."""
    ends = session.client, session.server
    session.open()
    with ExitStack() as stack:
        for namespace in session.network.namespaces:
            rules = [f"{_to(end)} numgen inc mod 3 == 0 drop" for end in ends if end.namespace is namespace]
            stack.enter_context(namespace.filtering(*rules))
        for end in ends:
            end.process.begin("exchange", "s", _MEGABYTE, "s")
        time.sleep(1)  # for longer, the kernel would wait for longer and longer before it sends again
    for end in ends:
        assert end.process.finish() == _MEGABYTE
        end.sent, end.received, end.retransmits, end.out_of_order = _MEGABYTE, _MEGABYTE, True, True
    for end in ends:
        end.acknowledged()
    session.end()
    return session.close()


def _on_side(play: Callable[[Session, LiveEnd, LiveEnd], None], side: str, session: Session) -> list[End]:
    session.open()
    session.talk()
    play(session, *session.ends_from(side))
    return session.close()


def _odd_endings() -> Programme:
    programme = Programme()
    add_reused_sockets(programme)

    def add(name: str, play: Callable[[Session], list[End]], times: int = 2) -> None:
        programme.add(name, in_session(play), times)

    def add_sides(name: str, play: Callable[[Session, LiveEnd, LiveEnd], None]) -> None:
        for side in ("client", "server"):
            add(f"{side} {name}", partial(_on_side, play, side))

    def add_ends(name: str, play: Callable[[LiveEnd, LiveEnd], None]) -> None:
        add_sides(name, lambda _, end, other: play(end, other))

    add_ends("shut down", _shut_down)
    add_ends("shut down and told", _shut_down_and_told)
    add_sides("shut down for reading", _shut_down_reading)
    add_ends("closed and told", _closed_and_told)
    add_ends("closed and told with acknowledgement", _closed_and_told_with_acknowledgement)
    if can_destroy():
        add_ends("aborted", _aborted)
    add_ends("never heard", _never_heard)
    add_ends("reset when unheard", _reset_unheard)
    add_ends("reset with something unread", _reset_unread)
    add_ends("reset after something out of order", _reset_out_of_order)
    add_sides("reset in flight", _reset_in_flight)
    add_ends("FIN lost", _fin_lost)
    add_sides("kept alive", _kept_alive)
    add_ends("unreachable", _unreachable)
    add_sides("unreachable for a while", _unreachable_for_a_while)
    add("every third packet lost", _lossy, 6)
    return programme


ENDINGS = _odd_endings().scenarios
