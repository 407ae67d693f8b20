"""The TCP sockets of a network namespace, as proc_net_tcp(5) has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class State(IntEnum):
    """include/net/tcp_states.h"""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


IN_SESSION = (State.ESTABLISHED, State.FIN_WAIT1, State.FIN_WAIT2, State.CLOSE_WAIT, State.LAST_ACK, State.CLOSING)
"""The states that a session goes through."""

_TIME_WAIT_TIMER = "03"


@dataclass(frozen=True)
class Socket:
    """A line of the table."""

    state: State
    local: str
    peer: str
    inode: int
    """0 while no process has it."""


def tcp_counters(process: Path) -> dict[str, int]:
    """What has happened so far in the namespace of a process, as /proc/PID/net counts it for TCP (nstat(8))."""
    return _counters(process / "net/snmp", "Tcp:") | _counters(process / "net/netstat", "TcpExt:")


def _counters(table: Path, group: str) -> dict[str, int]:
    lines = [line.split()[1:] for line in table.read_text().splitlines() if line.startswith(group)]
    return {name: int(value) for name, value in zip(*lines)}


def sockets(process: Path) -> list[Socket]:
    """Those of the namespace of the process with this directory in /proc. Raise OSError where it has ended."""
    return [_read(line) for table in ("tcp", "tcp6") for line in (process / "net" / table).read_text().splitlines()[1:]]


def _read(line: str) -> Socket:
    _, local, peer, state, _, timer, _, _, _, inode, *_ = line.split()
    # What is left of a socket that this end has closed can be in FIN_WAIT2 too
    waits = timer.startswith(_TIME_WAIT_TIMER)
    return Socket(State.TIME_WAIT if waits else State(int(state, 16)), local, peer, int(inode))
