"""The program that the helper is: run by its path, by a Python that imports nothing but what it is told to.

    python -I -S __main__.py SOCKET_FD PROCESS

PROCESS, whose sessions are traced, is for the eyes of whoever looks at the list of processes. The helper is not its
child: an application may wait for any child that it has.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress


def main() -> None:
    """Leave the application, and do what it asks for."""
    if os.fork():
        os._exit(0)
    # The file of a thread may be written by its process also where /proc/self/comm is root's, as the process is not
    # dumpable (proc_tid_comm_permission() in fs/proc/base.c)
    with suppress(OSError), open("/proc/thread-self/comm", "w", encoding="ascii") as comm:
        comm.write("otel-tcplife")
    wire = socket.socket(fileno=int(sys.argv[1]))
    wire.setblocking(True)  # gevent, where the application has it, has made it one that does not wait
    request = json.loads(wire.recv(1 << 20) or "null")
    if request:
        sys.path += request["path"]
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's threads have nothing to do here
        _run(wire, request)
    os._exit(0)


def _run(wire: socket.socket, request: object) -> None:
    try:
        from otel_tcplife.helper.process import run
    except Exception as error:  # noqa: BLE001 the application says what it is, such as a package for another Python
        from otel_tcplife.helper.messages import encoded, refusal

        wire.send(encoded(refusal(error)))
    else:
        run(wire, request)


if __name__ == "__main__":
    main()
