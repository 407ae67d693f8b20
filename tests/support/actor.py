"""A process with a name, pid and user of its own that uses sockets step by step, as a test tells it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Self

_MAIN = Path(__file__).with_name("actor_main.py")


class Actor:
    """An actor running inside its `with` block; what it is told is done when the call returns."""

    def __init__(self, comm: str, *, uid: int = 0, run: Sequence[str] = (), isolated: bool = True) -> None:
        """`run` is a command that runs the actor, in some place, as the process that it is itself.

        Not isolated, it is a Python like any other, which an agent may instrument.
        """
        self._run = [*run, sys.executable, *(["-IS"] if isolated else [])]
        self.comm = comm
        self.uid = uid
        self.executable = os.path.basename(os.path.realpath("/proc/self/exe"))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "KILL",
                "--",
                *self._run,
                str(_MAIN),
                self.comm,
                str(self.uid),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.tell("ready")
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def tell(self, action: str, *arguments: Any) -> Any:
        """Have it done, and return what it says. Raises RuntimeError with what went wrong there."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([action, *arguments]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{self.comm}: {action}: {answer['error']}")
        return answer["done"]

    def leave(self) -> None:
        """Have it exit, as a program does that has come to its end, and wait until it is gone."""
        self._process.communicate()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Idempotent."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


class Stopwatch:
    """When a step began and ended, on the clock of the kernel's timestamps (ns of CLOCK_MONOTONIC and Unix time)."""

    def __enter__(self) -> Self:
        self.began, self.began_unix = time.monotonic_ns(), time.time_ns()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended, self.ended_unix = time.monotonic_ns(), time.time_ns()
