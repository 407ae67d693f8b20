"""tcplife.session.active: to the session, also where others on this host open and close theirs meanwhile."""

from __future__ import annotations

import subprocess
from contextlib import closing

from otel_tcplife.options import Options
from otel_tcplife.probe.live import open_live_source
from tests.support.actor import run_actor
from tests.support.other_sessions import ActiveSince, most
from tests.support.place import network_namespace
from tests.support.session_pairs import Pairs

_NOBODY = "198.18.0.1"
"""An address whose packets get lost (RFC 2544)."""


def test_it_is_the_number_of_open_sessions() -> None:
    """All in a namespace of its own, so that the sessions of others can be told from these."""
    with network_namespace() as (name, inode):
        run = ["ip", "netns", "exec", name]
        subprocess.run(["ip", "-n", name, "route", "add", f"{_NOBODY}/32", "dev", "lo"], check=True)
        with run_actor("act-client", run=run) as client, run_actor("act-server", run=run) as server:
            pairs = Pairs(client, server)
            old = pairs.open(20)
            with closing(open_live_source(Options())) as source:
                active = ActiveSince(source, inode)
                before, after = active.first.before, active.first.after
                assert 0 <= active.first.count - 2 * len(old) <= most(before, after)
                new = pairs.open(50)
                assert active.moved_by(100)
                waiting = pairs.connect()
                pairs.wait_until_open(2 * len(old) + 102)
                assert active.moved_by(102), "nobody has accepted it yet"
                server.tell("accept", "listener", f"s{waiting}")
                assert active.moved_by(102)
                _connects_are_no_sessions(pairs, active)
                _end_in_all_ways(pairs, active, new[:20], 2 * len(old))
                for number in [*old, *new[20:], waiting]:
                    pairs.close(number)
                pairs.wait_until_open(0)
                assert active.moved_by(-2 * len(old))


def _connects_are_no_sessions(pairs: Pairs, active: ActiveSince) -> None:
    """102 ends are open."""
    client, server = pairs.client, pairs.server
    refusing = server.tell("listen", "gone", "127.0.0.1")
    server.tell("close", "gone")
    for _ in range(10):
        assert client.connect("refused", "127.0.0.1", refusing)[1] == "ECONNREFUSED"
    for number in range(10):
        client.begin_connect(f"hanging{number}", _NOBODY, 80)
    assert active.moved_by(102), "a connect is no session"
    for number in range(10):
        client.tell("close", f"hanging{number}")
    assert active.moved_by(102)


def _end_in_all_ways(pairs: Pairs, active: ActiveSince, numbers: list[int], old_ends: int) -> None:
    """102 ends are open, besides the old ones; 40 of them end."""
    client, server = pairs.client, pairs.server
    leaked, closed = numbers[:10], numbers[10:]
    for number in leaked:
        pairs.leak(number)
    assert active.moved_by(82), "sessions end with the reset, whoever keeps their descriptors"
    for number in leaked:
        server.tell("close", f"s{number}")
    for number in closed:
        client.tell("close", f"c{number}")
    pairs.wait_until_open(old_ends + 72)
    assert active.moved_by(72), "what waits for the peer's FIN after a close is no socket any more"
    for number in closed:
        server.tell("close", f"s{number}")
    pairs.wait_until_open(old_ends + 62)
    assert active.moved_by(62)
