"""Sessions of a network namespace of their own, which the command traces by the port of their server alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from tests.support.background_process import free_ports
from tests.support.otlp_receiver import Request
from tests.support.place import network_namespace
from tests.support.received import ReceivedLog, read_requests


class OwnTraffic:
    """A program that makes sessions as it is told to."""

    def __init__(self, process: subprocess.Popen[str], port: int, inode: int) -> None:
        self._process = process
        self.port = port
        """Of the server, which nobody else is likely to have in any namespace."""
        self._inode = inode

    def make(self, what: str, count: int) -> list[int]:
        """Make so many; return what tells them apart."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{what} {count}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def of(self, requests: Iterable[Request]) -> list[ReceivedLog]:
        """The records of its sessions."""
        logs = read_requests(each.as_json() for each in requests if each.signal == "logs").logs
        return [log for log in logs if log.attributes.get("tcplife.netns") == self._inode]


@contextmanager
def own_traffic() -> Generator[OwnTraffic]:
    """The program, inside the `with` block."""
    [port] = free_ports(1)
    program = [sys.executable, "-IS", str(Path(__file__).with_name("traffic_main.py")), str(port)]
    with network_namespace() as (name, inode):
        command = ["setpriv", "--pdeathsig", "KILL", "--", "ip", "netns", "exec", name, *program]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin
            assert process.stdout
            assert json.loads(process.stdout.readline()) == "listening"
            yield OwnTraffic(process, port, inode)
            process.stdin.close()
            process.wait()
