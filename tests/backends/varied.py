"""Real sessions of all kinds that the dashboard and the alerts are about."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import astuple, dataclass

from otel_tcplife.instruments import CARDINALITY_LIMIT
from tests.support.background_process import free_ports
from tests.support.elsewhere import ADDRESS, Elsewhere
from tests.support.patience import eventually

_SILENT = (
    "add table inet t; add chain inet t c {{ type filter hook input priority 0; }}; add rule inet t c tcp dport {} drop"
)


@dataclass(frozen=True)
class Ports:
    """The ports of the server's side of each kind of session."""

    served: int
    """Sessions that end in order."""
    closed: int
    """Connects that are refused."""
    reset: int
    """Sessions that end by a reset."""
    silent: int
    """A connect that gets no answer."""
    open: int
    """A session that goes on."""


@contextmanager
def varied_sessions(elsewhere: Elsewhere) -> Generator[Ports]:
    """All kinds have been; one session goes on in the block, in which bytes were sent."""
    ports = Ports(*free_ports(5))
    client, server = elsewhere.client, elsewhere.server
    elsewhere.sessions(30, sent=1000, to=ports.served)
    elsewhere.refused(20, to=ports.closed)
    for port in (ports.reset, ports.open):
        server.tell("listen", f"listener {port}", ADDRESS, [], port)
    assert client.connect("r", ADDRESS, ports.reset)[1] == ""
    server.tell("accept", f"listener {ports.reset}", "sr")
    client.reset("r")
    server.tell("close", "sr")
    assert client.connect("o", ADDRESS, ports.open)[1] == ""
    server.tell("accept", f"listener {ports.open}", "so")
    client.tell("send", "o", 5000)
    assert server.tell("receive", "so", 5000) == 5000
    _unanswered(elsewhere, ports.silent)
    yield ports
    client.tell("close", "o")
    server.tell("close", "so")


def _unanswered(elsewhere: Elsewhere, port: int) -> None:
    """A connect whose SYN is sent twice before it is given up."""
    within = ["nsenter", "--net", f"--target={elsewhere.client.pid}"]
    subprocess.run([*within, "nft", _SILENT.format(port)], check=True)
    elsewhere.client.begin_connect("u", ADDRESS, port)
    eventually(lambda: elsewhere.client.tell("sent_again", "u"))
    elsewhere.client.tell("close", "u")


def overflow(elsewhere: Elsewhere, besides: Ports | None = None) -> int:
    """Connects to more ports than a metric has attribute sets, none of them one of these; return to how many."""
    taken = astuple(besides) if besides else ()
    ports = [*itertools.islice((port for port in range(10000, 20000) if port not in taken), CARDINALITY_LIMIT + 1)]
    for port in ports:
        elsewhere.refused(1, to=port)
    return len(ports)
