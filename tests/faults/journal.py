"""A receiver in a process of its own, which a test can kill at any moment: what it acknowledges, it has on disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from typing_extensions import Self

from tests.faults.numbered import numbers_in
from tests.support.background_process import free_ports


class Journal:
    """The records of each request of logs, a line each, as they were acknowledged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch()

    def add(self, body: bytes) -> None:
        """Keep the records of a request, before it is acknowledged."""
        with self._path.open("a") as file:  # in one write(2), so that no line is broken
            file.write(" ".join(map(str, numbers_in(body))) + "\n")

    def requests(self) -> list[list[int]]:
        """The numbers in each request."""
        return [[int(number) for number in line.split()] for line in self._path.read_text().splitlines()]

    @property
    def acknowledged(self) -> list[int]:
        """All numbers, in the order in which they came."""
        return [number for request in self.requests() for number in request]

    def came_again(self) -> int:
        """How many requests had records that another one had before."""
        seen: set[int] = set()
        again = 0
        for numbers in self.requests():
            again += not seen.isdisjoint(numbers)
            seen.update(numbers)
        return again


class ReceiverProcess:
    """Such a receiver, inside its `with` block; it can be killed and started again, on the same port."""

    def __init__(self, protocol: str, path: Path) -> None:
        [port] = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        self.journal = Journal(path)
        self._command = [sys.executable, "-m", "tests.faults.receiver_main", protocol, str(port), str(path)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it; it receives when this returns."""
        command = ["setpriv", "--pdeathsig", "KILL", "--", *self._command]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        if self._process.stdout.readline() != "receiving\n":
            raise RuntimeError(f"{self._command} does not receive")

    def kill(self) -> None:
        """SIGKILL, wherever it is. Idempotent."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    def pause(self) -> None:
        """SIGSTOP: its connections stay, and nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)
