"""Servers and their clients as a test runs them: none outlives it, however it ends."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from typing_extensions import Self

from tests.support.patience import PATIENCE

NOBODY = 65534

# Nothing of the user's own: no proxies, no PG* variables, no translated messages
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}
_DIE_WITH_THE_TEST = ["setpriv", "--pdeathsig", "KILL", "--"]

T = TypeVar("T")


def path_of(program: str) -> str:
    """Where a program is. Raises RuntimeError where it is not installed."""
    found = shutil.which(program, path=_ENVIRONMENT["PATH"])
    if not found:
        raise RuntimeError(f"{program} is not installed")
    return found


def as_user(user: str, command: Sequence[str | Path]) -> list[str | Path]:
    """The command, run as another user; a change of user forgets by what death it is killed, hence once more."""
    return ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", *_DIE_WITH_THE_TEST[1:], *command]


def eventually(look: Callable[[], T | None], what: str) -> T:
    """What `look` finds, as soon as it finds something. Raises RuntimeError where that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"there was no {what}")
        time.sleep(0.005)
    return found


@dataclass(frozen=True)
class Process:
    """Who a process is."""

    pid: int
    comm: str
    executable: str | None
    uid: int = 0

    @classmethod
    def of(cls, pid: int) -> Process:
        """A running process, as /proc shows it."""
        directory = Path(f"/proc/{pid}")
        uids = (directory / "status").read_text().partition("\nUid:")[2].split(maxsplit=4)
        executable = os.path.basename(os.readlink(directory / "exe"))
        return cls(pid, (directory / "comm").read_text().rstrip("\n"), executable, int(uids[1]))


def children(pid: int) -> list[int]:
    """The processes that a process of one thread has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _listens(port: int) -> bool:
    """Whether there is a socket that accepts connections to it; found out without one, which would be reported."""
    with Path("/proc/net/tcp").open() as lines:
        next(lines)
        listening = (line.split()[1] for line in lines if line.split()[3] == "0A")
        return any(int(local.rpartition(":")[2], 16) == port for local in listening)


def names_itself(server: Server, pid_file: Path) -> None:
    """Wait for the file that a server writes its pid to."""
    eventually(lambda: pid_file.exists() and pid_file.read_text().strip() == str(server.pid), str(pid_file))


class Client:
    """A program that uses a server, running inside its `with` block, at whose end it has to have ended."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._process = subprocess.Popen(
            [*_DIE_WITH_THE_TEST, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=_ENVIRONMENT,
        )
        name = os.path.basename(command[0])
        self.process = Process(self._process.pid, name, os.path.basename(os.path.realpath(command[0])))
        assert self._process.stdin
        assert self._process.stdout
        self._input: IO[str] = self._process.stdin
        self._output: IO[str] = self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def say(self, line: str) -> None:
        """Write a line to it."""
        self._input.write(line + "\n")
        self._input.flush()

    def ask(self, question: str) -> str:
        """Write a line to it and return the line that it answers; empty where it has ended instead."""
        try:
            self.say(question)
        except BrokenPipeError:
            return ""
        if not select.select([self._output], [], [], PATIENCE)[0]:
            raise RuntimeError(f"{self.process.comm} does not answer {question}")
        return self._output.readline().rstrip("\n")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def finish(self, *statuses: int) -> str:
        """Wait for its end and return what it wrote. Raises RuntimeError where it ended with none of these statuses."""
        output, errors = self._process.communicate(timeout=PATIENCE)
        if self._process.returncode not in (statuses or (0,)):
            raise RuntimeError(f"{self.process.comm} ended with {self._process.returncode}: {output}{errors}")
        return output


class Server:
    """A server with the ports that it accepts connections on, running inside its `with` block.

    It has a session, hence a process group, of its own. Its children do not die with it: a shell beside it, which
    notices the end of the test by that of its input, kills the group.
    """

    def __init__(self, command: Sequence[str | Path], log: Path, ports: Sequence[int], end: signal.Signals) -> None:
        self._command = command
        self._log = log
        self._ports = ports
        self._end = end
        self._ready = False

    def __enter__(self) -> Self:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [*_DIE_WITH_THE_TEST, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read -r _ || kill -s KILL -- "-$0"', str(self.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            eventually(self._started, "server that accepts connections")
        except RuntimeError:
            raise RuntimeError(self._said("did not get ready")) from None
        finally:
            if not self._ready:
                self._kill()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Have it end, and wait; RuntimeError where it failed, fails, or has to be killed. Works once."""
        if self._process.returncode is not None:
            return
        if not self._ended():
            self._process.send_signal(self._end)
        deadline = time.monotonic() + PATIENCE
        while not self._ended() and time.monotonic() < deadline:
            time.sleep(0.005)
        status = self._kill()
        if status:
            raise RuntimeError(self._said(f"ended with {status}"))

    def _started(self) -> bool:
        if self._ended():
            raise RuntimeError
        self._ready = all(_listens(port) for port in self._ports)
        return self._ready

    def _ended(self) -> bool:
        # Not reaped yet, so that its number still stands for its group
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _kill(self) -> int:
        os.killpg(self.pid, signal.SIGKILL)
        self._guard.communicate(b"\n")
        return self._process.wait()

    def _said(self, what: str) -> str:
        return f"{self._command[0]} {what}:\n{self._log.read_text(errors='replace')}"
