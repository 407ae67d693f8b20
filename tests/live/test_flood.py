"""What comes to no session must cost no session: SYNs that nobody stands behind, and connects that nobody answers."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_tcplife.export.sdk.emit import log_records
from otel_tcplife.options import Options, Sizes
from otel_tcplife.probe.live import LiveSource, open_live_source
from otel_tcplife.session import SessionBatch, concatenated
from tests.live import syn_flood
from tests.support.actor import Actor, run_actor
from tests.support.other_sessions import ActiveSince, most, others
from tests.support.place import network_namespace
from tests.support.proc_net import State, sockets
from tests.support.session_pairs import Pairs, of_namespace

_NOBODY = "198.18.0.1"
"""One of the addresses that nobody answers from."""


@dataclass(frozen=True)
class _Place:
    """A namespace, of which packets to the sources of the flood get lost."""

    name: str
    inode: int

    @property
    def run(self) -> list[str]:
        """What runs a command in it."""
        return ["ip", "netns", "exec", self.name]

    def set(self, **values: int) -> None:
        """Set parameters of /proc/sys/net, with `__` for a slash."""
        for name, value in values.items():
            path = f"/proc/sys/net/{name.replace('__', '/')}"
            subprocess.run([*self.run, "sh", "-c", f"echo {value} > {path}"], check=True)


@contextmanager
def _place() -> Generator[_Place]:
    with network_namespace() as (name, inode):
        subprocess.run(["ip", "-n", name, "route", "add", syn_flood.SOURCES, "dev", "lo"], check=True)
        yield _Place(name, inode)


def _trace(most_sessions: int) -> LiveSource:
    return open_live_source(Options(sizes=Sizes(max_sessions=most_sessions)))


def _ends(batch: SessionBatch) -> list[tuple[int, int]]:
    return list(zip(batch["local_port"].tolist(), batch["peer_port"].tolist()))


def _cookies_sent(process: Actor) -> int:
    lines = Path(f"/proc/{process.pid}/net/netstat").read_text().splitlines()
    names, values = [line.split() for line in lines if line.startswith("TcpExt:")]
    return int(dict(zip(names, values))["SyncookiesSent"])


def _were_given_up(failed: SessionBatch, pid: int) -> None:
    for record in log_records(failed):
        assert record.event_name == "tcplife.connect.failed"
        assert record.attributes
        assert record.attributes["error.type"] == "_OTHER"
        assert record.attributes["process.pid"] == pid


_MOST_SESSIONS, _SYNS = 4096, 20_000


@pytest.mark.parametrize(
    ("syncookies", "backlog", "half_open"),
    [
        pytest.param(0, 65535, range(_MOST_SESSIONS + 1, _SYNS + 1), id="each takes room in the kernel"),
        pytest.param(1, 256, range(258), id="SYN cookies where the backlog is full"),
        pytest.param(2, 256, range(1), id="SYN cookies alone"),
    ],
)
def test_a_flood_of_syns_takes_no_room_from_sessions(syncookies: int, backlog: int, half_open: range) -> None:
    with (
        _place() as place,
        run_actor("act-client", run=place.run) as client,
        run_actor("act-server", run=place.run) as server,
    ):
        place.set(core__somaxconn=65535, ipv4__tcp_max_syn_backlog=65535, ipv4__tcp_syncookies=syncookies)
        pairs = Pairs(client, server, backlog)
        with closing(_trace(_MOST_SESSIONS)) as source:
            active = ActiveSince(source, place.inode)
            lasting = pairs.open(10)
            batches = _flood(place, pairs, source)
            for _ in range(10):
                _play(pairs)
            assert sum(each.state is State.SYN_RECV for each in sockets(Path(f"/proc/{server.pid}"))) in half_open
            assert (_cookies_sent(server) > 0) == (syncookies > 0)
            pairs.wait_until_open(2 * len(lasting))
            assert active.moved_by(2 * len(lasting))
            for number in lasting:
                pairs.close(number)
            opened_anew = _ends_that_nobody_has(server)
            server.tell("close", "listener")
            pairs.wait_until_open(0)
            assert active.moved_by(0)
            batches.append(source.drain())
            outcomes = source.stats().outcomes
            if (
                most(active.first.before, others(place.inode)) < _MOST_SESSIONS // 2
            ):  # else others may have taken all the room
                assert outcomes["map_full"] == 0
            assert outcomes["submitted"] == sum(map(len, batches))
            assert sum(outcomes.values()) == source.stats().seen
    reported = of_namespace(concatenated(batches), place.inode)
    made = Counter((pairs.port, port) for port in pairs.client_ports)
    assert Counter(_ends(reported[reported["role"] == 2])) - opened_anew == made
    assert Counter(_ends(reported[reported["role"] == 1])) == Counter((peer, local) for local, peer in made.elements())
    assert set(reported["bytes_sent"].tolist()) <= {0, 5}


def _ends_that_nobody_has(server: Actor) -> Counter[tuple[int, int]]:
    """Sessions of the server that wait to be accepted: with SYN cookies, a late copy of an ACK opens one anew."""
    established = [each for each in sockets(Path(f"/proc/{server.pid}")) if each.state is State.ESTABLISHED]
    ports = [(each.local.rpartition(":")[2], each.peer.rpartition(":")[2]) for each in established if not each.inode]
    return Counter((int(local, 16), int(peer, 16)) for local, peer in ports)


def _flood(place: _Place, pairs: Pairs, source: LiveSource) -> list[SessionBatch]:
    """Have sessions while SYNs come that nobody stands behind; return what was read meanwhile."""
    batches: list[SessionBatch] = []
    program = [sys.executable, "-IS", syn_flood.__file__, str(pairs.port), str(_SYNS)]
    with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *place.run, *program]) as flood:
        while flood.poll() is None and len(pairs.client_ports) < 500:
            _play(pairs)
            batches.append(source.read())
    assert flood.returncode == 0
    return batches


def _play(pairs: Pairs) -> None:
    [number] = pairs.open(1)
    pairs.client.tell("send", f"c{number}", 5)
    assert pairs.server.tell("receive", f"s{number}", 5) == 5
    pairs.close(number)


def test_connects_that_nobody_answers_take_the_room_of_sessions_until_they_end() -> None:
    """They are followed, as each may become a session; those that find no room are lost, and counted when they end."""
    room, connects = 256, 600
    with (
        _place() as place,
        run_actor("act-client", run=place.run) as client,
        run_actor("act-server", run=place.run) as server,
    ):
        pairs = Pairs(client, server)
        with closing(_trace(room)) as source:
            before = others(place.inode)
            ports = [client.begin_connect(f"hanging{number}", _NOBODY, 80) for number in range(connects)]
            missed = pairs.open(20)
            for number in missed:
                pairs.close(number)
            pairs.wait_until_open(0)
            outcomes = source.stats().outcomes
            for number in range(connects):
                client.tell("close", f"hanging{number}")
            counted_at_end = source.stats().outcomes["map_full"] - outcomes["map_full"]
            [late] = pairs.open(1)
            pairs.close(late)
            pairs.wait_until_open(0)
            taken_by_others = most(before, others(place.inode))
            reported = of_namespace(source.drain(), place.inode)
            outcomes = source.stats().outcomes
            assert sum(outcomes.values()) == source.stats().seen
    failed, sessions = reported[reported["peer_port"] == 80], reported[reported["peer_port"] != 80]
    assert room - taken_by_others <= len(failed) <= room
    assert set(failed["local_port"].tolist()) <= set(ports)
    _were_given_up(failed, client.pid)
    if taken_by_others < room:
        ends = (pairs.client_ports[late], pairs.port), (pairs.port, pairs.client_ports[late])
        assert set(ends) <= set(_ends(sessions)), "there is room again"
    if not taken_by_others:
        assert len(sessions) == 2, "while there was none, none was followed"
    assert counted_at_end >= connects - len(failed)
    assert outcomes["map_full"] >= connects - len(failed) + 2 * (len(missed) + 1) - len(sessions)
