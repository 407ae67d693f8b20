"""State changes that we miss, as they come in an interrupt of our own program, are made up for.

A kernel that runs the program within itself, as those before 6.1 do, hides none; it tells how often it did not.
"""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager

from otel_tcplife.options import Options
from otel_tcplife.probe.live import LiveSource, open_live_source
from otel_tcplife.session import UNKNOWN_TIME, Event, SessionBatch, concatenated
from tests.support.bpf_maps import skipped_runs
from tests.support.place import network_namespace

_CONNECTS = 4000
_MOST_ROUNDS = 10

# A timer ends each of them, in an interrupt; nobody answers from that address
_TIMES_OUT = f"""
import resource, select, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (2 * {_CONNECTS}, 2 * {_CONNECTS}))
connecting, poll = [], select.poll()
for number in range({_CONNECTS}):
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)
    client.connect_ex(("198.18.0.1", 80))
    connecting.append(client)
    poll.register(client, 0)
    if not number % 50:  # many interrupts, each of which may come within our program
        time.sleep(0.01)
while len(poll.poll()) < {_CONNECTS}:  # asked for their errors, they would have none any more
    time.sleep(0.1)
"""

_BUSY = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
while True:
    client = socket.create_connection(listener.getsockname())
    listener.accept()[0].close()
    client.close()
"""


@contextmanager
def _busy() -> Generator[None]:
    """Both cores of a small machine run our program again and again."""
    with ExitStack() as stack:
        for _ in range(2):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-IS", "-c", _BUSY]))
            stack.callback(process.kill)
        yield


def _time_out(namespace: str, source: LiveSource) -> SessionBatch:
    """Have so many connects time out; return all that was read meanwhile."""
    command = ["ip", "netns", "exec", namespace, sys.executable, "-IS", "-c", _TIMES_OUT]
    batches: list[SessionBatch] = []
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            batches.append(source.read())
            time.sleep(0.01)
    assert not process.returncode
    return concatenated(batches)


def _missed(batches: list[SessionBatch], netns: int) -> int:
    """Ends in this namespace of which it is not known when they were."""
    return sum(int(((batch["netns"] == netns) & (batch["handshake"] == UNKNOWN_TIME)).sum()) for batch in batches)


def test_no_end_is_lost_where_state_changes_are_missed() -> None:
    with network_namespace() as (name, inode), closing(open_live_source(Options())) as source:
        subprocess.run(["ip", "-n", name, "route", "add", "198.18.0.0/15", "dev", "lo"], check=True)
        batches: list[SessionBatch] = []
        rounds = 0
        with _busy():
            while not _missed(batches, inode) and rounds < _MOST_ROUNDS:
                batches.append(_time_out(name, source))
                rounds += 1
        skipped = skipped_runs("inet_sock_set_state")
        batches.append(source.drain())
        assert source.stats().seen == sum(source.stats().outcomes.values())
        missed = source.stats().missed
        assert source.stats().outcomes["submitted"] == sum(map(len, batches))
    batch = concatenated(batches)
    ours = batch[batch["netns"] == inode]
    assert len(ours) == rounds * _CONNECTS
    assert {*ours["event"].tolist()} == {Event.CONNECT_FAILED}
    assert (ours["pid"] != 0).all()
    assert _missed(batches, inode) <= missed
    assert bool(_missed(batches, inode)) == bool(skipped)
    assert {*ours["error"].tolist()} == {errno.ETIMEDOUT}
