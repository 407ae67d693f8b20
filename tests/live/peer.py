"""libbpf-tools' tcplife beside ours, on the same sessions."""

from __future__ import annotations

import fcntl
import re
import signal
import subprocess
import time
from dataclasses import dataclass

from typing_extensions import Self

_TCPLIFE = "/usr/sbin/tcplife"

# It wants tracefs, which is then mounted for it alone.
_START = 'mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; exec "$0" "$@"'
COMMAND = [
    *["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "sh", "-c", _START],
    *["stdbuf", "-oL", _TCPLIFE, "-w"],
]


@dataclass(frozen=True)
class Row:
    """A line of its table."""

    pid: int
    comm: str
    local_port: int
    peer_port: int
    sent_kb: float
    received_kb: float
    milliseconds: float


class Peer:
    """tcplife, tracing inside its `with` block."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            COMMAND,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        # Room for all its lines until they are read: it would wait, and miss sessions
        fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)
        assert self._process.stdout.readline().startswith("PID")  # printed once it is attached
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def stop(self) -> list[Row]:
        """End it and return what it has printed."""
        time.sleep(0.5)  # it polls every 100 ms
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate()
        return [row for line in output.splitlines() if (row := _row(line))]


def _row(line: str) -> Row | None:
    match = re.fullmatch(r"(\d+) +(.{1,16}?) +\S+ +(\d+) +\S+ +(\d+) +(\S+) +(\S+) +(\S+)", line)
    if not match:
        return None
    pid, comm, local_port, peer_port, sent, received, milliseconds = match.groups()
    return Row(int(pid), comm, int(local_port), int(peer_port), float(sent), float(received), float(milliseconds))
