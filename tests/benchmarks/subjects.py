"""What is measured: our agent in its forms, and its peers, each as a process under the same load."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import Self

from tests.support.host_agent import COMMAND
from tests.support.libbpf_tcplife import command as tcplife_command

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Subject:
    """A program that traces: how it is started, and which line tells that it traces."""

    name: str
    command: Sequence[str]
    ready: str
    env: Mapping[str, str] = field(default_factory=dict[str, str])


def ours(name: str, env: Mapping[str, str]) -> Subject:
    """The agent, exporting as the environment says, without its table."""
    return Subject(name, [COMMAND, "--no-table"], ": tracing;", env)


SERVERS: dict[str, tuple[list[str], str]] = {
    "a server with threads": ([str(Path(__file__).with_name("application.py"))], r"serving (\d+)"),
    "gunicorn with 2 workers": (
        [
            *("-m", "gunicorn", "--bind=127.0.0.1:0", "--workers=2", "--worker-class=gthread", "--threads=4"),
            "tests.benchmarks.application:wsgi",
        ],
        r"Listening at: http://127.0.0.1:(\d+)",
    ),
}
"""Small HTTP servers: what runs them, and how they say on which port they serve."""


def instrumented(env: Mapping[str, str], server: str = "a server with threads") -> Subject:
    """A small HTTP server under OpenTelemetry's agent."""
    agent = str(Path(sys.executable).with_name("opentelemetry-instrument"))
    standard = {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    program, says = SERVERS[server]
    return Subject(server, [agent, sys.executable, *program], says.partition("(")[0], {**standard, **env})


LIBBPF_TCPLIFE = Subject("libbpf tcplife printing lines", tcplife_command(), "PID")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Receiver:
    """An OTLP receiver in a process of its own."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "tests.benchmarks.receiver"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.records = 0
        return self

    def cpu_seconds(self) -> float:
        """User and system time that it has used."""
        return _cpu_seconds(self._process.pid)

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        output, _ = self._process.communicate()
        self.records = int(output)


class Running:
    """A subject that traces inside its `with` block."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def __enter__(self) -> Self:
        began = time.monotonic()
        self._output = tempfile.TemporaryFile("w+")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *self._subject.command],
            stdout=self._output,
            stderr=self._output,
            env={**inherited, **self._subject.env},
        )
        while self._subject.ready not in self.text():
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._subject.name}: {self.text()}")
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - began
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """User and system time that it has used, without that of children which have ended."""
        return _cpu_seconds(self._process.pid)

    def resident_megabytes(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def text(self) -> str:
        """What it has printed so far, with the names of others' commands."""
        return Path(f"/proc/self/fd/{self._output.fileno()}").read_text(errors="replace")

    def stop(self) -> str:
        """Have it drain and end; return what it has printed."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        return self.text()
