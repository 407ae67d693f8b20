"""Processes and threads that use sockets step by step, as a test tells them.

Their programs are actor_main.py, with blocking sockets, and asyncio_actor_main.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.origin import Origin

_MAIN = Path(__file__).with_name("actor_main.py")

EXECUTABLE = os.path.basename(os.path.realpath("/proc/self/exe"))
"""The program that all of them are."""


class Actor:
    """A process, or a thread of one, that does as it is told; what it is told is done when the call returns."""

    def __init__(self, control: socket.socket, pid: int, comm: str, uid: int) -> None:
        self._control = control
        self._life = os.pidfd_open(pid)
        self._made: list[Actor] = []
        self.pid = pid
        self.comm = comm
        """Name of its process."""
        self.uid = uid
        self.executable = EXECUTABLE
        self.origin = Origin.of(pid)

    def tell(self, action: str, *arguments: Any, over: Sequence[socket.socket] = ()) -> Any:
        """Have it done, and return what it says. Raise RuntimeError with what went wrong there."""
        self.begin(action, *arguments, over=over)
        return self.finish()

    def begin(self, action: str, *arguments: Any, over: Sequence[socket.socket] = ()) -> None:
        """Tell it, and do not wait until it is done."""
        _send(self._control, [action, *arguments], over)

    def finish(self) -> Any:
        """Wait until it is done, and return what it says."""
        return answer_from(self._control, self.comm)

    def connect(self, name: str, host: str, port: int) -> tuple[int, str]:
        """Connect a new socket; return the local port, which is known of one that fails too, and the errno's name."""
        return self.tell("bind", name, host, []), self.tell("connect", name, host, port)

    def begin_connect(self, name: str, host: str, port: int) -> int:
        """Have a new socket send a SYN, and wait for nothing; return the local port."""
        self.tell("make", name, host, [])
        self.tell("connect_later", name, host, port)
        return self.tell("local_port", name)

    def reset(self, name: str) -> None:
        """Close a descriptor by RST."""
        self.tell("linger", name)
        self.tell("close", name)

    def fork(self, comm: str, uid: int | None = None) -> Actor:
        """A child process with all its sockets."""
        uid = self.uid if uid is None else uid
        ours, theirs = make_pair()
        with theirs:
            return self._keep(Actor(ours, self.tell("fork", comm, uid, over=[theirs]), comm, uid))

    def thread(self, comm: str) -> Actor:
        """A thread of the same process, with a name of its own."""
        ours, theirs = make_pair()
        with theirs:
            return self._keep(Actor(ours, self.tell("thread", comm, over=[theirs]), self.comm, self.uid))

    def _keep(self, actor: Actor) -> Actor:
        self._made.append(actor)
        return actor

    def give(self, name: str, other: Actor) -> None:
        """Pass a descriptor to another process (SCM_RIGHTS)."""
        ours, theirs = make_pair()
        with ours, theirs:
            self.tell("give", name, over=[ours])
            other.tell("take", name, over=[theirs])

    def kill(self) -> None:
        """SIGKILL to the process, and wait until it has gone. Idempotent."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._life, signal.SIGKILL)
        self.wait()

    def leave(self) -> None:
        """Have the process exit with all sockets open, and wait until it has gone."""
        self.begin("leave")
        self.wait()

    def end(self) -> None:
        """Have the process end, as a program does that has nothing more to do, and wait until it has gone."""
        self._control.shutdown(socket.SHUT_RDWR)
        self.wait()

    def wait(self) -> None:
        """Wait until the process has gone."""
        poll = select.poll()
        poll.register(self._life, select.POLLIN)
        poll.poll()

    def close(self) -> None:
        """End it, and all that it has made, if they have not ended. Idempotent."""
        for actor in self._made:
            actor.close()
        if self._life >= 0:
            self.kill()
            os.close(self._life)
            self._control.close()
            self._life = -1


@contextmanager
def run_actor(comm: str, *, uid: int = 0, run: Sequence[str] = (), isolated: bool = True) -> Generator[Actor]:
    """An actor that is a program of its own in the `with` block, and gone after it.

    `run` is a command that runs it, in some place, as the process that it is itself. Not isolated, it is a Python like
    any other, which an agent may instrument.
    """
    ours, theirs = make_pair()
    command = [*run, sys.executable, *(["-IS"] if isolated else []), str(_MAIN), comm, str(uid)]
    with theirs:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], stdin=theirs.fileno())
    actor = Actor(ours, process.pid, comm, uid)
    try:
        actor.tell("ready")
        yield actor
    finally:
        actor.close()
        process.wait()


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of what carries one message at a time."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _send(control: socket.socket, message: list[Any], over: Sequence[socket.socket]) -> None:
    socket.send_fds(control, [json.dumps(message).encode()], [each.fileno() for each in over])


def answer_from(control: socket.socket, who: str) -> Any:
    """What has come of the last message. Raise RuntimeError with what went wrong there."""
    received = control.recv(1 << 16)
    if not received:
        raise RuntimeError(f"{who} has gone")
    answer = json.loads(received)
    if "error" in answer:
        raise RuntimeError(f"{who}: {answer['error']}")
    return answer["done"]
