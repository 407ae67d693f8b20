"""The command, which replays numbered sessions as a test feeds it with them: no root, and no time of its own."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from typing_extensions import Self

from tests.faults.numbered import HEADER, rows
from tests.support.host_agent import COMMAND
from tests.support.patience import PATIENCE

_AT_ONCE = 5000


class Replaying:
    """otel-tcplife, inside its `with` block. It is killed at the end of that, if it has not ended."""

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        run: Sequence[str] = (),
        command: Sequence[str] = (COMMAND,),
        is_shown: bool = True,
    ) -> None:
        """`run` is a command that runs it, as the process that it is itself.

        What it says `is_shown` at the end.
        """
        self._is_shown = is_shown
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        self.said: list[str] = []
        """Its lines on standard error, without its name before them."""
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *run, *command, "--no-table", "--replay", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**inherited, **env},
        )
        self.pid = self._process.pid
        self._feeder: threading.Thread | None = None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        if self._is_shown:
            print(*self.said, sep="\n")  # which pytest shows of a test that fails

    def feed(self, numbers: range, *, header: bool = False) -> None:
        """Have it replay these sessions; return when it has read nearly all of them."""
        assert self._process.stdin
        self._process.stdin.write(HEADER if header else "")
        for start in range(numbers.start, numbers.stop, _AT_ONCE):
            self._process.stdin.write(rows(numbers[start - numbers.start :][:_AT_ONCE]))
            self._process.stdin.flush()

    def begin_to_feed(self, numbers: range, *, header: bool = False) -> None:
        """The same as feed(), but return at once: it may not read for a while. Nothing else is fed until end()."""
        self._feeder = threading.Thread(target=self._feed_while_it_reads, args=(numbers, header))
        self._feeder.start()

    def _feed_while_it_reads(self, numbers: range, header: bool) -> None:
        with suppress(BrokenPipeError):  # it has ended
            self.feed(numbers, header=header)

    def end(self) -> int:
        """The recording ends here: wait until the command has ended, too, and return its exit code."""
        assert self._process.stdin
        if self._feeder:
            self._feeder.join()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        code = self._process.wait(PATIENCE)
        self._reader.join()
        return code

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, wherever it is. Idempotent."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._feeder:
            self._feeder.join()

    @property
    def most_memory(self) -> int:
        """Bytes of resident memory that it has had at most, while it runs."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait while it runs. Raise RuntimeError with what it said, where it ends first or hangs."""
        until = time.monotonic() + PATIENCE
        while not condition():
            if self.has_ended or time.monotonic() > until:
                raise RuntimeError("\n".join(["it has ended" if self.has_ended else "it hangs", *self.said]))
            time.sleep(0.005)

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.said.append(line.rstrip("\n").removeprefix("otel-tcplife: "))


def replay(count: int, env: Mapping[str, str], directory: Path, *, first: int = 0) -> subprocess.CompletedProcess[str]:
    """Have the command replay a file of so many sessions, to its end."""
    recording = directory / "recording.csv"
    recording.write_text(HEADER + rows(range(first, first + count)))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [COMMAND, "--no-table", "--replay", str(recording)]
    return subprocess.run(command, env={**inherited, **env}, capture_output=True, text=True, timeout=PATIENCE)
