"""The program of forkserver.py, which forks an actor of either kind for each order."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys

from tests.support.actor_main import name_thread, receive_order, serve
from tests.support.asyncio_actor_main import serve_in_loop

_CLONE_NEWNET = 0x4000_0000
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Fork an actor for each order, until the tests close the socket that is our standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever ends is gone at once
    orders = socket.socket(fileno=0)
    while (received := receive_order(orders)) is not None:
        (kind, comm, uid), descriptors = received
        child = os.fork()
        if child:
            for descriptor in descriptors:
                os.close(descriptor)
            orders.send(json.dumps({"done": child}).encode())
            continue
        orders.close()
        _become(kind, comm, uid, descriptors)
        os._exit(0)


def _become(kind: str, comm: str, uid: int, descriptors: list[int]) -> None:
    control, *namespace = descriptors
    if kind == "namespace":
        _checked(_libc.unshare(_CLONE_NEWNET))
    for descriptor in namespace:
        _checked(_libc.setns(descriptor, _CLONE_NEWNET))
        os.close(descriptor)
    name_thread(comm)
    os.setuid(uid)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    (serve_in_loop if kind == "asyncio" else serve)(socket.socket(fileno=control))


def _checked(result: int) -> None:
    if result:
        sys.exit(os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
