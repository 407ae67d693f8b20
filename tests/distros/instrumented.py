"""An application under an agent, run by a test from its start to its end."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.helpers import helpers_of, wait_until_ended
from tests.support.patience import PATIENCE
from tests.support.received import Scalar

APPLICATION = Path(__file__).with_name("application.py")


@dataclass(frozen=True)
class Session:
    """A session of the application with itself: the client's port, and the bytes that the client sent and received."""

    port: int
    sent: int
    received: int


@dataclass(frozen=True)
class Ran:
    """What an application did, and what stood on its standard error."""

    pid: int
    port: int
    """Where it served."""
    refused: int
    """Where it found nobody."""
    sessions: list[Session]
    said: str

    def ends(self) -> dict[tuple[Scalar, Scalar], dict[str, Scalar]]:
        """What is to be reported of each end of each session, by its local and peer port."""
        ends: dict[tuple[Scalar, Scalar], dict[str, Scalar]] = {}
        for session in self.sessions:
            ends[session.port, self.port] = self._end("client", session.sent, session.received)
            ends[self.port, session.port] = self._end("server", session.received, session.sent)
        return ends

    def _end(self, role: str, sent: int, received: int) -> dict[str, Scalar]:
        return {
            "process.pid": self.pid,
            "tcplife.role": role,
            "tcplife.bytes.sent": sent,
            "tcplife.bytes.received": received,
        }

    def assert_said_nothing_of_ours(self) -> None:
        """Nor has anything failed, ours or not."""
        assert "otel-tcplife:" not in self.said
        assert "otel_tcplife" not in self.said
        assert "Traceback" not in self.said


def _start(
    binaries: Path, command: Sequence[str | Path], environ: Mapping[str, str], directory: Path, stderr: Path
) -> subprocess.Popen[str]:
    with stderr.open("w") as errors:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
            cwd=directory,
            env={
                "PATH": f"{binaries}:{os.environ['PATH']}",
                "HOME": str(directory),
                "TMPDIR": str(directory),
                "CACHE_DIRECTORY": os.environ["CACHE_DIRECTORY"],
                **environ,
            },
        )


def run(
    binaries: Path,
    command: Sequence[str | Path],
    environ: Mapping[str, str],
    directory: Path,
    meanwhile: Callable[[int], None] = lambda port: None,
) -> Ran:
    """Run a command that runs APPLICATION, with the programs of `binaries` and, but for PATH, only this environment.

    `meanwhile` is called with the port where it serves, before it is told to end. Its helper has ended, too.
    """
    stderr = directory / "stderr"
    process = _start(binaries, command, environ, directory, stderr)
    hung = threading.Timer(PATIENCE, process.kill)
    hung.start()
    try:
        assert process.stdout
        line = process.stdout.readline()
        told: dict[str, Any] = json.loads(line or "{}")
        if told:
            meanwhile(told["port"])
        printed, _ = process.communicate()
    finally:
        process.kill()
        process.wait()
        hung.cancel()
    said = stderr.read_text(errors="replace")
    if process.returncode or not told or printed:
        raise RuntimeError(f"the application ended with {process.returncode}:\n{line}{printed}{said}")
    for helper in helpers_of(told["pid"]):
        wait_until_ended(helper)
    sessions = [Session(**session) for session in told.pop("sessions")]
    return Ran(**told, sessions=sessions, said=said)
