"""When the helper has to end: the last process that it traces has gone, or the application has it stop."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable

from otel_tcplife.helper.messages import STOP
from otel_tcplife.log import logger
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.probe.traced_processes import TracedProcesses

_LOOK_EVERY = 0.5
"""Seconds between two looks at whether any process is left."""

_LAST_SESSIONS_WITHIN = 5.0
"""Seconds that sessions may take to end that the last process had open: the other end has to answer."""

_FORGET_EVERY = 60.0
"""Seconds between two looks at all processes: an application may fork without end."""


class Watch:
    """Sets the deadline when it is time. The processes are those of the BPF map: a daemon closes all descriptors."""

    def __init__(
        self, wire: socket.socket, process: int, processes: int, stats: Callable[[], Stats], deadline: Deadline
    ) -> None:
        """`process` has started this one, and `processes` is the map of all that are traced."""
        self._wire = wire
        self._process = process
        self._processes = TracedProcesses(processes)
        self._forget_at = time.monotonic() + _FORGET_EVERY
        self._stats = stats
        self._deadline = deadline
        self._waited_for: list[int] = []

    def start(self) -> None:
        """Begin to watch, in a thread."""
        self._waited_for.append(self._wire.fileno())
        try:
            self._waited_for.append(os.pidfd_open(self._process))
        except OSError:  # it has gone
            _give_up_standard_error()
        threading.Thread(target=self._run, name="tcplife-watch", daemon=True).start()

    def _run(self) -> None:
        try:
            while not self._is_to_stop():
                if not self._processes.is_any_left():
                    self._wait_for_last_sessions()
                    break
                if time.monotonic() >= self._forget_at:
                    self._forget_at = time.monotonic() + _FORGET_EVERY
                    self._processes.forget_gone()
        except Exception as error:  # noqa: BLE001 it must not go on for ever
            logger.warning("tracing has ended: %s: %s", type(error).__name__, error)
        self._deadline.set()

    def _is_to_stop(self) -> bool:
        """Wait a while; return whether the application has it stop."""
        ready, _, _ = select.select(self._waited_for, [], [], _LOOK_EVERY)
        for descriptor in ready:
            if descriptor != self._wire.fileno():
                # Whoever started the application may wait for the end of what it writes
                _give_up_standard_error()
            elif self._wire.recv(len(STOP)) == STOP:
                return True
            self._waited_for.remove(descriptor)
        return False

    def _wait_for_last_sessions(self) -> None:
        for _ in range(int(_LAST_SESSIONS_WITHIN / 0.05)):
            if self._stats().active <= 0 or self._deadline.wait(0.05):
                return


def _give_up_standard_error() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
