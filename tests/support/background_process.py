"""A program that a test runs beside itself."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from tests.support.patience import PATIENCE


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that nothing listens on, outside of the ephemeral range, so that no connection takes one."""
    ports: list[int] = []
    ephemeral = range(*map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()))
    candidates = [port for port in range(10000, 65536) if port not in ephemeral]
    for port in random.sample(candidates, min(len(candidates), 1000)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free loopback ports outside of the ephemeral range")


@contextlib.contextmanager
def refusing_port() -> Generator[int]:
    """A loopback port that refuses connections, and that nobody else can listen on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def accepts(port: int) -> bool:
    """Whether a connection to this loopback port is accepted."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class BackgroundProcess:
    """A program that runs, accepts connections to its `ports`, and ends cleanly when it is told to.

    What it prints goes to the file `log`; `env` is added to this process's environment. Where it does not get that far
    the constructor raises RuntimeError with what it printed. The kernel kills it when the thread that made it ends,
    however that ends.
    """

    def __init__(
        self, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str], ports: Sequence[int] = ()
    ) -> None:
        self._command = command
        self._log = log
        self._stopped = False
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                # Not preexec_fn, which may deadlock in a process with threads, as gRPC makes of every test run.
                ["env", "--ignore-signal=INT", "setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
            )
        deadline = time.monotonic() + PATIENCE
        while not (self._catches_interrupt() and all(accepts(port) for port in ports)):
            if not self.running:
                raise RuntimeError(self._report(f"ended with {self._process.returncode}"))
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(self._report("did not get ready"))
            time.sleep(0.01)

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Interrupts the program and waits; RuntimeError where it failed, fails, or has to be killed. Works once."""
        if self._stopped:
            return
        self._stopped = True
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(self._report("did not stop")) from None
        if status != 0:
            raise RuntimeError(self._report(f"ended with {status}"))

    def _catches_interrupt(self) -> bool:
        # Started with SIGINT ignored, it catches it only once it stops cleanly for it; of SIGTERM nothing shows that.
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        caught = int(status.partition("\nSigCgt:")[2].split(maxsplit=1)[0], 16)
        return bool(caught >> (signal.SIGINT - 1) & 1)

    def kill(self) -> None:
        """Have the kernel end it at once."""
        self._stopped = True
        self._process.kill()
        self._process.wait()

    def _report(self, what: str) -> str:
        return f"{Path(self._command[0]).name} {what}:\n{self._log.read_text(errors='replace')}"
