"""Applications that fork while something is under way, or in great numbers."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
import time

from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord

from tests.plugin.forking.steps import HOST, fork, make_session, tell, wait
from tests.support.bpf_objects import held_by


def threads(port: str) -> None:
    """Children made while threads have sessions with a server that reads to the end."""
    tell(bpf=sorted(held_by(os.getpid())))

    def have_sessions() -> None:
        for size in range(1, 101):
            with socket.create_connection((HOST, int(port))) as client:
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
    # A thread that waits for Python's lock asks for it after this time; a child that is asked would wait for a thread
    # that it has not
    sys.setswitchinterval(60)
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
