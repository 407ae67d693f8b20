"""The command, run by a test as a user would run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from typing_extensions import Self

COMMAND = str(Path(sys.executable).with_name("otel-tcplife"))


class Agent:
    """otel-tcplife, tracing inside its `with` block; leaving it sends SIGINT and waits until all is drained."""

    def __init__(
        self,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] = {},
        cwd: Path | None = None,
        *,
        run: Sequence[str] = (),
    ) -> None:
        """`run` is a command that runs it, as the process that it is itself."""
        self._command = [*run, COMMAND, *arguments]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        self._env = {**inherited, **env}
        self._cwd = cwd
        self.said: list[str] = []
        """Its lines on standard error."""
        self.printed: list[str] = []
        """Its lines on standard output."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *self._command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._env,
            cwd=self._cwd,
        )
        self.pid = self._process.pid
        assert self._process.stdout
        assert self._process.stderr
        self._traces = threading.Event()
        self._readers = [
            threading.Thread(target=self._read, args=(self._process.stdout, self.printed)),
            threading.Thread(target=self._read, args=(self._process.stderr, self.said)),
        ]
        for reader in self._readers:
            reader.start()
        self._traces.wait()
        if not any(": tracing;" in line for line in self.said):
            self.stop()
            raise RuntimeError("\n".join(self.said))
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Have it drain and end; return its exit code. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait()
        for reader in self._readers:
            reader.join()
        return code

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            if ": tracing;" in line:
                self._traces.set()
        self._traces.set()  # it has ended
