"""tcplife.session.active: to the session, also where others on this host open and close theirs meanwhile."""

from __future__ import annotations

import subprocess
from contextlib import closing

from otel_tcplife.options import Filters, Sizes
from otel_tcplife.probe.live import LiveSource
from tests.support.actor import run_actor
from tests.support.other_sessions import change, most, read_active
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
            with closing(LiveSource(Filters(), Sizes())) as source:
                first = read_active(source, inode)
                assert 0 <= first.count - 2 * len(old) <= most(first.before, first.after)

                def moved_by(ends: int) -> bool:
                    now = read_active(source, inode)
                    return now.count - first.count - ends in change(first, now)

                new = pairs.open(50)
                assert moved_by(100)
                waiting = pairs.connect()
                pairs.wait_until_open(2 * len(old) + 102)
                assert moved_by(102), "nobody has accepted it yet"
                server.tell("accept", "listener", f"s{waiting}")
                assert moved_by(102)

                refusing = server.tell("listen", "gone", "127.0.0.1")
                server.tell("close", "gone")
                for _ in range(10):
                    assert client.connect("refused", "127.0.0.1", refusing)[1] == "ECONNREFUSED"
                for number in range(10):
                    client.begin_connect(f"hanging{number}", _NOBODY, 80)
                assert moved_by(102), "a connect is no session"
                for number in range(10):
                    client.tell("close", f"hanging{number}")
                assert moved_by(102)

                for number in new[:10]:
                    pairs.leak(number)
                assert moved_by(82), "sessions end with the reset, whoever keeps their descriptors"
                for number in new[:10]:
                    server.tell("close", f"s{number}")
                for number in new[10:20]:
                    client.tell("close", f"c{number}")
                pairs.wait_until_open(2 * len(old) + 72)
                assert moved_by(72), "what waits for the peer's FIN after a close is no socket any more"
                for number in new[10:20]:
                    server.tell("close", f"s{number}")
                pairs.wait_until_open(2 * len(old) + 62)
                assert moved_by(62)
                for number in [*old, *new[20:], waiting]:
                    pairs.close(number)
                pairs.wait_until_open(0)
                assert moved_by(-2 * len(old))
