"""Processes and threads that use sockets step by step, as a test tells them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Self

_ROOT = Path(__file__).parents[3]

EXECUTABLE = os.path.basename(os.path.realpath("/proc/self/exe"))
"""The program that all of them are."""


class Hand:
    """A thread that does as it is told; what it is told is done when the call returns."""

    def __init__(self, control: socket.socket, pid: int, comm: str, uid: int) -> None:
        self._control = control
        self._life = os.pidfd_open(pid)
        self._made: list[Hand] = []
        self.pid = pid
        self.comm = comm
        """Name of its process."""
        self.uid = uid

    def tell(self, action: str, *arguments: Any, over: Sequence[socket.socket] = ()) -> Any:
        """Have it done, and return what it says. Raise RuntimeError with what went wrong there."""
        self.begin(action, *arguments, over=over)
        return self.finish()

    def begin(self, action: str, *arguments: Any, over: Sequence[socket.socket] = ()) -> None:
        """Tell it, and do not wait until it is done."""
        _send(self._control, [action, *arguments], over)

    def finish(self) -> Any:
        """Wait until it is done, and return what it says."""
        return _answer(self._control, self.comm)

    def fork(self, comm: str, uid: int | None = None) -> Hand:
        """A child process with all its sockets."""
        uid = self.uid if uid is None else uid
        ours, theirs = _pair()
        with theirs:
            return self._keep(Hand(ours, self.tell("fork", comm, uid, over=[theirs]), comm, uid))

    def thread(self, comm: str) -> Hand:
        """A thread of the same process, with a name of its own."""
        ours, theirs = _pair()
        with theirs:
            return self._keep(Hand(ours, self.tell("thread", comm, over=[theirs]), self.comm, self.uid))

    def _keep(self, hand: Hand) -> Hand:
        self._made.append(hand)
        return hand

    def give(self, name: str, other: Hand) -> None:
        """Pass a descriptor to another process (SCM_RIGHTS)."""
        ours, theirs = _pair()
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

    def wait(self) -> None:
        """Wait until the process has gone."""
        poll = select.poll()
        poll.register(self._life, select.POLLIN)
        poll.poll()

    def close(self) -> None:
        """End it, and all that it has made, if they have not ended. Idempotent."""
        for hand in self._made:
            hand.close()
        if self._life >= 0:
            self.kill()
            os.close(self._life)
            self._control.close()
            self._life = -1


class Zygote:
    """Makes hands, inside its `with` block; all of them are gone after it. Several threads may use it."""

    def __enter__(self) -> Self:
        self._orders, theirs = _pair()
        self._lock = threading.Lock()
        self._hands: list[Hand] = []
        with theirs:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "tests.live.matrix.zygote"],
                stdin=theirs.fileno(),
                cwd=_ROOT,
            )
        return self

    def __exit__(self, *error: object) -> None:
        for hand in self._hands:
            hand.close()
        self._orders.close()
        self._process.wait()

    def hand(self, comm: str, uid: int = 0, *, namespace: Path | None = None, kind: str = "") -> Hand:
        """A process of one of the kinds of `zygote.py`; without a namespace, it is in the tests' own."""
        ours, theirs = _pair()
        descriptors = [theirs.fileno()]
        if namespace:
            descriptors.append(os.open(namespace, os.O_RDONLY))
        with self._lock, theirs:
            socket.send_fds(self._orders, [json.dumps([kind, comm, uid]).encode()], descriptors)
            pid = _answer(self._orders, "zygote")
            hand = Hand(ours, pid, comm, uid)
            self._hands.append(hand)
        if namespace:
            os.close(descriptors[1])
        hand.tell("ready")
        return hand


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _send(control: socket.socket, message: list[Any], over: Sequence[socket.socket]) -> None:
    socket.send_fds(control, [json.dumps(message).encode()], [each.fileno() for each in over])


def _answer(control: socket.socket, who: str) -> Any:
    received = control.recv(1 << 16)
    if not received:
        raise RuntimeError(f"{who} has gone")
    answer = json.loads(received)
    if "error" in answer:
        raise RuntimeError(f"{who}: {answer['error']}")
    return answer["done"]
