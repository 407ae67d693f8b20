"""libbpf-tools' tcplife beside ours, on the same sessions."""

from __future__ import annotations

import fcntl
import functools
import re
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import IO

from typing_extensions import Self

from tests.support.traffic import Traffic

_NAMES = ("tcplife-libbpf", "tcplife")
"""In Debian 13 and newer, and before; bcc's own is called tcplife-bpfcc there."""

# It wants tracefs, which is then mounted for it alone.
_START = 'mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; exec "$0" "$@"'

# The name of a command is any bytes but zero: what it has of line ends breaks the row, which then is none
_ROW = re.compile(rb"(\d+) +(.{1,16}?) +\S+ +(\d+) +\S+ +(\d+) +(\S+) +(\S+) +(\S+)", re.DOTALL)


@functools.cache
def command() -> list[str]:
    """What starts it. Raises RuntimeError where it is not installed."""
    found = [path for name in _NAMES if (path := shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin"))]
    if not found:
        raise RuntimeError(f"none of {', '.join(_NAMES)} is installed: they are in libbpf-tools")
    in_own_mounts = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "sh", "-c", _START]
    return [*in_own_mounts, "stdbuf", "-oL", found[0], "-w"]


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


class LibbpfTcplife:
    """tcplife, tracing inside its `with` block."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(command(), stdout=subprocess.PIPE)
        assert self._process.stdout
        # Its lines are read as they come, however many sessions others have: it would wait, and miss sessions
        fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)
        self._lines: list[bytes] = []
        self._traces = threading.Event()
        self._reader = threading.Thread(target=self._read, args=[self._process.stdout])
        self._reader.start()
        self._traces.wait()
        if not self._lines:
            self.__exit__()
            raise RuntimeError("libbpf-tools' tcplife does not trace")
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def stop(self) -> list[Row]:
        """Wait until it has printed what has ended so far, end it and return what it has printed."""
        self._wait_for_a_last_session()
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._reader.join()
        return [row for line in self._lines if (row := _row(line))]

    def _wait_for_a_last_session(self) -> None:
        """It reads the buffers of all CPUs at once: when it prints this one, those before have been there, too."""
        traffic = Traffic()
        seen = len(self._lines)
        while not any(traffic.port in (row.local_port, row.peer_port) for row in map(_row, self._lines[seen:]) if row):
            if self._process.poll() is not None:
                raise RuntimeError("libbpf-tools' tcplife has ended")
            traffic.sessions(1)
            time.sleep(0.1)
        traffic.close()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._lines.append(line.rstrip(b"\n"))
            self._traces.set()  # the header, which is printed once it is attached
        self._traces.set()  # it has ended


def _row(line: bytes) -> Row | None:
    match = _ROW.fullmatch(line)
    if not match:
        return None
    pid, comm, local_port, peer_port, sent, received, milliseconds = match.groups()
    name = comm.decode("utf-8", "replace")
    return Row(int(pid), name, int(local_port), int(peer_port), float(sent), float(received), float(milliseconds))
