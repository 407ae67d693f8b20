"""Odd endings: sockets used again, shutdown(2), resets with data under way, loss, silence and ICMP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from tests.live.matrix.endings import TIMEOUT_MS, UNREAD
from tests.live.matrix.ends import End
from tests.live.matrix.network import IPV6
from tests.live.matrix.session import Party, Session, in_session
from tests.live.matrix.stage import Programme
from tests.support.sock_diag import can_destroy

_MEGABYTE = 1 << 20

_UNREACHABLE = "reject with icmpx type host-unreachable"

_RECVERR = {"ipv4": (socket.IPPROTO_IP, 11), "ipv6": (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR and IPV6_RECVERR."""


def _to(party: Party) -> str:
    """Of an nftables rule: what comes for this end."""
    return f"tcp dport {party.ports[0]}"


def _disconnect_client(bound: bool, session: Session) -> list[End]:
    """connect(2) to AF_UNSPEC: the same socket has two sessions, and no error in the second."""
    client, server = session.client, session.server
    if bound:
        session.bind()
    session.open()
    session.talk()
    client.resets(server)
    with client.ends(), server.ends():
        client.do("disconnect")
    server.close()
    first = _leave_behind(client, server)
    with session.opens():
        session.connect_again()
    session.accept()
    server.say(3000, client)
    session.end()
    return [*first, *session.close()]


def _leave_behind(*parties: Party) -> list[End]:
    """The ends of a session that is over; the parties are to have another."""
    ends: list[End] = [replace(party) for party in parties]
    for party in parties:
        party.sent, party.received, party.error = 0, 0, None
    return ends


def _disconnect_server(session: Session) -> list[End]:
    """A socket that was accepted connects to the process that had connected."""
    client, server = session.client, session.server
    session.open()
    session.talk()
    server.resets(client)
    with client.ends(), server.ends():
        server.do("disconnect")
    client.close()
    first = _leave_behind(client, server)
    client.role, client.owner_source, server.role, server.owner_source = "server", "close", "client", "connect"
    server.ports = (0, client.process.tell("listen", "l", session.family.any, []))
    back = replace(session, client=server, server=client)
    with back.opens():
        back.connect_again()
    back.accept()
    back.talk()
    back.end()
    return [*first, *back.close()]


def _shut_down(party: Party, other: Party) -> None:
    """It can neither send nor receive when the other closes."""
    party.reason, other.reason = "local_close", "peer_close"
    party.shutdown(socket.SHUT_RDWR)
    other.state("CLOSE_WAIT")
    with party.ends(), other.ends():
        other.close()
    party.close()


def _shut_down_and_told(party: Party, other: Party) -> None:
    """What comes for one that can receive no more is answered by a reset."""
    party.resets(other, "EPIPE")
    party.error = "ECONNRESET"
    party.shutdown(socket.SHUT_RDWR)
    other.state("CLOSE_WAIT")
    with party.ends(), other.ends():
        other.do("send", 100)
    party.close()
    other.close()


def _closed_and_told(party: Party, other: Party) -> None:
    """The same of one that is closed, whose FIN does not get through."""
    party.resets(other)
    party.error = "ECONNRESET"
    with other.ends():
        with other.namespace.filtering(f"{_to(other)} drop"), party.ends():
            party.close()
            party.state("FIN_WAIT1")
            other.do("send", 3000)
        other.retransmits = True
    other.close()


def _closed_and_told_with_acknowledgement(party: Party, other: Party) -> None:
    """Its FIN has got through, as the data say that come for it: it has closed in order before them."""
    party.reason, other.reason, other.error = "local_close", "peer_reset", "EPIPE"
    with party.ends(), other.ends():
        with party.namespace.filtering(f"{_to(party)} drop"):
            party.close()
            other.state("CLOSE_WAIT")
        other.do("send", 3000)
    other.close()


def _aborted(party: Party, other: Party) -> None:
    """Somebody else ends it, as with `ss -K`."""
    party.resets(other)
    party.error = "ECONNABORTED"
    with party.ends(), other.ends():
        party.namespace.destroy(party.key)
    party.close()
    other.close()


def _never_heard(party: Party, other: Party) -> None:
    """What one sends, and its reset, does not get through."""
    party.resets(other)
    with other.namespace.filtering(f"{_to(other)} drop"):
        party.do("send", 5000)
        party.do("linger")
        with party.ends():
            party.close()
    other.hears_of_it()


def _reset_unheard(party: Party, other: Party) -> None:
    """What one sends does not get through, and the other resets."""
    other.resets(party)
    other.do("linger")
    with other.namespace.filtering(f"{_to(other)} drop"), party.ends(), other.ends():
        party.do("send", 5000)
        other.close()
    party.close()


def _reset_unread(party: Party, other: Party) -> None:
    """It has received something that it has not read when the reset comes."""
    other.fill(UNREAD, party)
    other.resets(party)
    other.do("linger")
    with party.ends(), other.ends():
        other.close()
    party.close()


def _reset_out_of_order(party: Party, other: Party) -> None:
    """What came out of order counts for neither end."""
    party.resets(other)
    party.do("linger")
    with other.namespace.filtering(f"{_to(other)} meta length 540-600 drop"):
        party.do("send", 500)
        party.do("send", 300)
        with party.ends(), other.ends():
            party.close()
    other.close()


def _reset_in_flight(session: Session, party: Party, other: Party) -> None:
    """Both have sent something that has not arrived, when one resets."""
    party.resets(other)
    session.network.cut()
    for each in (party, other):
        each.do("send", 3000)
    party.do("linger")
    with party.ends():
        party.close()
    with other.ends():
        session.network.heal()
    other.retransmits = True
    other.close()


def _fin_lost(party: Party, other: Party) -> None:
    party.reason, other.reason = "local_close", "peer_close"
    first = f"{_to(other)} tcp flags & fin == fin numgen inc mod 1000000 == 0 drop"
    with other.namespace.filtering(first), party.ends(), other.ends():
        party.close()
        other.state("CLOSE_WAIT")
        other.close()
    party.retransmits = True


def _kept_alive(session: Session, party: Party, other: Party) -> None:
    """Nothing is sent, and the probe is not answered."""
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
        party.do("option", socket.IPPROTO_TCP, option, 1)
    party.reason, party.error = "timeout", "ETIMEDOUT"
    session.network.cut()
    with party.ends():
        party.do("option", socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    party.close()
    session.network.heal()
    other.hears_of_it()


def _unreachable(party: Party, other: Party) -> None:
    """The errno is what ICMP said of the packets that were not answered, until the kernel gave up."""
    party.do("option", socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TIMEOUT_MS)
    party.reason, party.error = "timeout", "EHOSTUNREACH"
    with other.namespace.filtering(f"{_to(other)} {_UNREACHABLE}"), party.ends():
        party.do("send", 100)
    party.close()
    other.hears_of_it()


def _unreachable_for_a_while(session: Session, party: Party, other: Party) -> None:
    """A socket that wants to be told of ICMP keeps the error until it is asked for it, though the session goes on."""
    party.do("option", *_RECVERR["ipv6" if session.family is IPV6 else "ipv4"], 1)
    with other.namespace.filtering(f"{_to(other)} numgen inc mod 1000000 < 2 {_UNREACHABLE}"):
        party.say(100, other)
    party.retransmits = True
    session.end("client" if party is session.client else "server")
    party.error = "EHOSTUNREACH"


def _shut_down_reading(session: Session, party: Party, other: Party) -> None:
    """Linux receives all the same."""
    party.do("shutdown", socket.SHUT_RD)
    other.say(1000, party)
    session.end("client" if party is session.client else "server")


def _lossy(session: Session) -> list[End]:
    """Each end gets only two of three packets for a second, while both send and receive a megabyte."""
    parties = session.client, session.server
    session.open()
    with ExitStack() as stack:
        for namespace in session.network.namespaces:
            rules = [f"{_to(party)} numgen inc mod 3 == 0 drop" for party in parties if party.namespace is namespace]
            stack.enter_context(namespace.filtering(*rules))
        for party in parties:
            party.process.begin("exchange", "s", _MEGABYTE, "s")
        time.sleep(1)  # for longer, the kernel would wait for longer and longer before it sends again
    for party in parties:
        assert party.process.finish() == _MEGABYTE
        party.sent, party.received, party.retransmits = _MEGABYTE, _MEGABYTE, True
    for party in parties:
        party.acknowledged()
    session.end()
    return session.close()


def _on_side(play: Callable[[Session, Party, Party], None], side: str, session: Session) -> list[End]:
    session.open()
    session.talk()
    play(session, *session.parties(side))
    return session.close()


def _partings() -> Programme:
    programme = Programme()

    def add(name: str, play: Callable[[Session], list[End]], times: int = 2) -> None:
        programme.add(name, in_session(play), times)

    def add_sides(name: str, play: Callable[[Session, Party, Party], None]) -> None:
        for side in ("client", "server"):
            add(f"{side} {name}", partial(_on_side, play, side))

    def add_parties(name: str, play: Callable[[Party, Party], None]) -> None:
        add_sides(name, lambda _, party, other: play(party, other))

    add("client disconnected, connected again", partial(_disconnect_client, False))
    add("client disconnected, connected again from the same port", partial(_disconnect_client, True))
    add("server disconnected, connected back", _disconnect_server)
    add_parties("shut down", _shut_down)
    add_parties("shut down and told", _shut_down_and_told)
    add_sides("shut down for reading", _shut_down_reading)
    add_parties("closed and told", _closed_and_told)
    add_parties("closed and told with acknowledgement", _closed_and_told_with_acknowledgement)
    if can_destroy():
        add_parties("aborted", _aborted)
    add_parties("never heard", _never_heard)
    add_parties("reset when unheard", _reset_unheard)
    add_parties("reset with something unread", _reset_unread)
    add_parties("reset after something out of order", _reset_out_of_order)
    add_sides("reset in flight", _reset_in_flight)
    add_parties("FIN lost", _fin_lost)
    add_sides("kept alive", _kept_alive)
    add_parties("unreachable", _unreachable)
    add_sides("unreachable for a while", _unreachable_for_a_while)
    add("every third packet lost", _lossy, 6)
    return programme


PARTINGS = _partings().scenarios
