"""Applications whose children end before them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.context import ForkContext, ForkServerContext, SpawnContext

from tests.plugin.forking.steps import HOST, fork, make_session, tell
from tests.support.bpf_objects import held_by


def plain() -> None:
    """One process."""
    make_session()


def children() -> None:
    """A child with a child of its own."""
    make_session()

    def child() -> None:
        make_session()
        os.waitpid(fork(make_session), 0)
        make_session()

    os.waitpid(fork(child), 0)
    make_session()


def child_that_returns() -> None:
    """A child that ends as programs do, with all handlers of atexit."""
    child = os.fork()
    make_session()
    if child:
        os.waitpid(child, 0)
        make_session()


def killed() -> None:
    """A child that is killed with a session open."""
    tell(bpf=sorted(held_by(os.getpid())))
    with socket.create_server((HOST, 0)) as listener:

        def child() -> None:
            client = socket.create_connection(listener.getsockname())
            client.sendall(bytes(1000))
            tell(end=["client", client.getsockname()[1], client.getpeername()[1], 1000, 0])
            os.kill(os.getpid(), signal.SIGKILL)

        pid = fork(child)
        server, address = listener.accept()
    os.waitpid(pid, 0)
    server.recv(1000, socket.MSG_WAITALL)
    server.recv(1)
    tell(end=["server", server.getsockname()[1], address[1], 0, 1000])
    server.close()


def many(context: ForkContext | SpawnContext | ForkServerContext) -> None:
    """Children of multiprocessing."""
    make_session()
    process = context.Process(target=make_session)
    process.start()
    process.join()
    with context.Pool(2) as pool:
        pool.map(make_session, [100, 200, 300, 400], chunksize=1)
        pool.close()
        pool.join()
    make_session()


def multiprocessing_fork() -> None:
    """Children by fork."""
    many(multiprocessing.get_context("fork"))


def multiprocessing_spawn() -> None:
    """Children by fork and exec."""
    many(multiprocessing.get_context("spawn"))


def multiprocessing_forkserver() -> None:
    """Children forked by a child that was made by exec."""
    many(multiprocessing.get_context("forkserver"))


def unjoined() -> None:
    """A child of multiprocessing that goes on when the application has nothing more to do than to wait for it."""

    def child() -> None:
        make_session()
        time.sleep(1)
        make_session()

    tell(bpf=sorted(held_by(os.getpid())))
    multiprocessing.get_context("fork").Process(target=child).start()


def python_child() -> None:
    """Another Python, under the agent as this one."""
    make_session()
    subprocess.run([sys.executable, "-m", "tests.plugin.forking_main", "plain"], check=True)
    make_session()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def other_child() -> None:
    """A client of this process that is another program."""
    tell(bpf=sorted(held_by(os.getpid())))
    with HTTPServer((HOST, 0), _Handler) as server:
        client = subprocess.Popen(["curl", "--silent", "--fail", f"http://{HOST}:{server.server_port}/"])
        server.handle_request()
    assert client.wait() == 0
    tell(port=server.server_port)


def left_behind() -> None:
    """A child by exec that inherits all descriptors that can be, and goes on when this one has ended."""
    make_session()
    child = subprocess.Popen(["cat"], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tell(child=child.pid)
