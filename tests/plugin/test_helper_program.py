"""The program that the helper is, without an application."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from otel_tcplife.helper import __main__ as program
from otel_tcplife.probe.wire import pair
from tests.support.helpers import helpers_of, the_helper_of, wait_until_ended


def test_it_waits_for_the_request_whatever_the_socket_was_made_for() -> None:
    """As under gevent, whose sockets do not wait."""
    ours, theirs = pair(socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            theirs.setblocking(False)
            descriptor, process = theirs.fileno(), os.getpid()
            command = [sys.executable, "-I", "-S", program.__file__, str(descriptor), str(process)]
            launcher = subprocess.Popen(command, pass_fds=[descriptor], stderr=subprocess.PIPE)
        assert launcher.wait() == 0
        helper = the_helper_of(process)
        while helper in helpers_of(process) and not _sleeps(helper):
            time.sleep(0.01)
        ours.send(b"null")
        wait_until_ended(helper)
    assert launcher.stderr
    with launcher.stderr as said:
        assert said.read() == b""


def _sleeps(process: int) -> bool:
    with suppress(OSError):
        return "\nState:\tS" in Path(f"/proc/{process}/status").read_text()
    return True
