"""A process that all actors of a test are forked from, in a network namespace and with a user of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from typing_extensions import Self

from tests.support.actor import Actor, answer_from, make_pair

_ROOT = Path(__file__).parents[2]


class ForkServer:
    """Makes actors, inside its `with` block; all of them are gone after it. Several threads may use it."""

    def __enter__(self) -> Self:
        self._orders, theirs = make_pair()
        self._lock = threading.Lock()
        self._actors: list[Actor] = []
        with theirs:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "tests.support.forkserver_main"],
                stdin=theirs.fileno(),
                cwd=_ROOT,
            )
        return self

    def __exit__(self, *error: object) -> None:
        for actor in self._actors:
            actor.close()
        self._orders.close()
        self._process.wait()

    def actor(self, comm: str, uid: int = 0, *, namespace: Path | None = None, kind: str = "") -> Actor:
        """A process of one of the kinds of `forkserver_main.py`; without a namespace, it is in the tests' own."""
        ours, theirs = make_pair()
        descriptors = [theirs.fileno()]
        if namespace:
            descriptors.append(os.open(namespace, os.O_RDONLY))
        with self._lock, theirs:
            socket.send_fds(self._orders, [json.dumps([kind, comm, uid]).encode()], descriptors)
            pid = answer_from(self._orders, "fork server")
            actor = Actor(ours, pid, comm, uid)
            self._actors.append(actor)
        if namespace:
            os.close(descriptors[1])
        actor.tell("ready")
        return actor
