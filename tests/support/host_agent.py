"""The command, run by a test as a user would run it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from typing_extensions import Self

COMMAND = str(Path(sys.executable).with_name("otel-tcplife"))


_ROOM_FOR_OTHERS = {
    "OTEL_PYTHON_TCPLIFE_FILE_BYTES": str(1 << 40),
    "OTEL_PYTHON_TCPLIFE_RING_BYTES": str(64 << 20),
}
"""However many sessions others have on this host, those of a test are in the file that it reads, and not lost."""


class HostAgent:
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
        self._env = {**inherited, **_ROOM_FOR_OTHERS, **env}
        self._cwd = cwd
        self.said: list[str] = []
        """Its lines on standard error."""
        self.printed: list[str] = []
        """Its lines on standard output."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            # Before all others: what a test had is not to be lost because CPUs are busy
            ["nice", "-n", "-19", "setpriv", "--pdeathsig", "KILL", "--", *self._command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
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
        print(*self.said[-6:], sep="\n")  # which pytest shows of a test that fails: its balance

    def stop(self, number: int = signal.SIGINT) -> int:
        """Have it drain and end; return its exit code. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait()
        for reader in self._readers:
            reader.join()
        return code

    @property
    def missed(self) -> int:
        """State changes that it has missed, as it said when it ended: what is known only from them is absent."""
        return sum(int(n) for line in self.said for n in re.findall(r"and (\d+) state changes missed", line))

    def rows(self) -> list[list[str]]:
        """The rows of its table, each in its columns, the header's first; a name may have spaces, or be empty."""
        header = self.printed[0].split()
        before, after = header.index("COMM"), len(header) - header.index("COMM") - 1
        rows = [header]
        for line in self.printed[1:]:
            *first, rest = line.split(None, before)
            named = rest.rsplit(None, after)
            comm = named[:-after]
            rows.append([*first, comm[0] if comm else "", *named[-after:]])
        return rows

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            if ": tracing;" in line:
                self._traces.set()
        self._traces.set()  # it has ended
