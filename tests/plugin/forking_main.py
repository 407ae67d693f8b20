"""Applications of several processes, a function each, which tell of each end of the sessions that they make.

    python -m tests.plugin.forking_main NAME [ARGUMENT...]

Each process writes lines of JSON to standard output, with its process id.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.context import ForkContext, ForkServerContext, SpawnContext
from pathlib import Path

from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord

from tests.support.bpf_objects import held_by, newest_link

_HOST = "127.0.0.1"


def tell(**columns: object) -> None:
    """Write a line, so short that those of several processes do not mix."""
    os.write(1, (json.dumps({"pid": os.getpid(), **columns}) + "\n").encode())


def wait() -> None:
    """Wait until a process of those that wait is to go on, and it is this one; or all are to end."""
    os.read(0, 1)


def make_session(size: int = 1000) -> None:
    """Have a session of this process with itself, and tell of both ends and of the BPF objects that it holds."""
    end_session(*open_session(), size)
    tell(bpf=sorted(held_by(os.getpid())))


def open_session() -> tuple[socket.socket, socket.socket]:
    """The client's socket and the server's."""
    with socket.create_server((_HOST, 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


def end_session(client: socket.socket, server: socket.socket, size: int = 1000) -> None:
    """Exchange so many bytes, close both, and tell of it."""
    ports = client.getsockname()[1], server.getsockname()[1]
    client.sendall(bytes(size))
    server.recv(size, socket.MSG_WAITALL)
    server.sendall(bytes(2 * size))
    client.recv(2 * size, socket.MSG_WAITALL)
    client.close()
    server.recv(1)
    server.close()
    tell(end=["client", *ports, size, 2 * size])
    tell(end=["server", *reversed(ports), 2 * size, size])


def fork(run: Callable[[], object]) -> int:
    """Have a child that runs this, and ends as multiprocessing's do; return its pid."""
    child = os.fork()
    if child:
        return child
    run()
    os._exit(0)


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
    with socket.create_server((_HOST, 0)) as listener:

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
    subprocess.run([sys.executable, "-m", __spec__.name, "plain"], check=True)
    make_session()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def other_child() -> None:
    """A client of this process that is another program."""
    tell(bpf=sorted(held_by(os.getpid())))
    with HTTPServer((_HOST, 0), _Handler) as server:
        client = subprocess.Popen(["curl", "--silent", "--fail", f"http://{_HOST}:{server.server_port}/"])
        server.handle_request()
    assert client.wait() == 0
    tell(port=server.server_port)


def left_behind() -> None:
    """A child by exec that inherits all descriptors that can be, and goes on when this one has ended."""
    make_session()
    child = subprocess.Popen(["cat"], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tell(child=child.pid)


def idle() -> None:
    """Nothing, until all are to end."""
    tell(ready=True)
    wait()


def idle_with_child() -> None:
    """Nothing, with a child that does nothing, and ends as programs do."""
    child = os.fork()
    tell(**{"parent" if child else "child": os.getpid()})
    wait()
    if child:
        os.waitpid(child, 0)


def daemon() -> None:
    """A daemon, forked twice, with a session open that it ends when it may, and makes another."""
    _daemonize(os.close)


def thorough_daemon() -> None:
    """A daemon that closes all descriptors that it does not know, and opens its own."""

    def close_all(_: int) -> None:
        os.closerange(3, 1 << 16)
        opened.update({os.memfd_create(name): name for name in ("first", "second", "third")})

    opened: dict[int, str] = {}
    _daemonize(close_all)
    for descriptor, name in opened.items():
        assert name in os.readlink(f"/proc/self/fd/{descriptor}")


def _daemonize(prepare: Callable[[int], None]) -> None:
    """Go on as a daemon, which may close all and closes at least the descriptor that it is given."""
    make_session()
    prepared, preparing = os.pipe()
    if os.fork():
        os.close(preparing)
        os.read(prepared, 1)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    prepare(preparing)
    client, server = open_session()
    tell(daemon=os.getpid())
    wait()
    end_session(client, server)
    make_session()


def orphans() -> None:
    """Children that go on when this one has ended, each of which makes a session when it may."""
    make_session()
    for _ in range(3):
        if not os.fork():
            tell(orphan=os.getpid())
            wait()
            make_session()
            return


def busy_daemon() -> None:
    """A daemon that forks all through the time in which its tracing begins."""
    if os.fork():
        return
    before = newest_link()
    _fork_when(_has_child)
    _fork_when(lambda: newest_link() > before)
    _fork_when(lambda: bool(held_by(os.getpid())))
    tell(forked=True)
    _have_sessions()


def _has_child() -> bool:
    """Which loads the program."""
    return any(children.read_text() for children in Path("/proc/self/task").glob("*/children"))


def _fork_when(reached: Callable[[], bool]) -> None:
    while not reached() and not _all_are_to_end(within=0.001):
        pass
    for _ in range(2):
        if not os.fork():
            _have_sessions()
            os._exit(0)


def _have_sessions() -> None:
    tell(runs=os.getpid())
    while not _all_are_to_end(within=0.5):
        make_session()


def _all_are_to_end(within: float) -> bool:
    return bool(select.select([0], [], [], within)[0])


def threads(port: str) -> None:
    """Children made while threads have sessions with a server that reads to the end."""
    tell(bpf=sorted(held_by(os.getpid())))

    def have_sessions() -> None:
        for size in range(1, 101):
            with socket.create_connection((_HOST, int(port))) as client:
                client.sendall(bytes(size))
                client.shutdown(socket.SHUT_WR)  # a child may have the descriptor, too
                client.recv(1)
                tell(end=["client", client.getsockname()[1], int(port), size, 0])

    running = [threading.Thread(target=have_sessions) for _ in range(4)]
    for thread in running:
        thread.start()
    children = [fork(make_session) for _ in range(30)]
    for thread in running:
        thread.join()
    for child in children:
        os.waitpid(child, 0)


def forks_without_end() -> None:
    """A child that has nothing to do for as long as it takes to make more than the kernel keeps in mind."""
    libc = ctypes.PyDLL(None)  # without what Python does about each
    go_on, may_go_on = os.pipe()

    def child() -> None:
        os.read(go_on, 1)
        make_session()

    first = fork(child)
    for _ in range(5000):
        another = libc.fork()
        if not another:
            libc._exit(0)
        os.waitpid(another, 0)
    os.write(may_go_on, b"!")
    os.waitpid(first, 0)
    make_session()


class Processor(LogRecordProcessor):
    """Has a lock, as all of the SDK have, and takes its time."""

    def __init__(self) -> None:
        self.lock, self.at_work = threading.Lock(), threading.Event()

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Be found at work."""
        with self.lock:
            self.at_work.set()
            time.sleep(0.02)

    def shutdown(self) -> None:
        """Nothing."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Nothing."""
        return True


def fork_at_work() -> None:
    """A child made while sessions are handed over, which asks what a lock is like that it inherits."""
    provider, processor = get_logger_provider(), Processor()
    assert isinstance(provider, LoggerProvider)
    provider.add_log_record_processor(processor)
    make_session()
    processor.at_work.wait()
    os.waitpid(fork(lambda: tell(locked=processor.lock.locked())), 0)


def imports() -> None:
    """One process, which tells what has been imported when its sessions have been reported."""
    before = set(sys.modules)
    make_session()
    tell(made=True)
    wait()
    tell(imported=sorted(set(sys.modules) - before))


def late_child() -> None:
    """A child that is made long after the first session, and ends as programs do."""
    make_session()
    tell(made=True)
    wait()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    make_session()


def main(arguments: Sequence[str]) -> None:
    """Run one of them."""
    globals()[arguments[0]](*arguments[1:])
    tell(done=True)


if __name__ == "__main__":
    main(sys.argv[1:])
