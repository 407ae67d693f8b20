"""What says that the command traces, for those who watch over it: a service manager, or a probe of Kubernetes.

A service manager is told by the protocol of sd_notify(3), where it asks for that. A probe looks at how old a file is.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from typing_extensions import Self

from otel_tcplife.errors import BadUsage
from otel_tcplife.log import logger

_EVERY = 5.0
"""Seconds between two times that the file is touched."""


class Alive:
    """Says that tracing has begun, then from time to time that it goes on, and at last that it ends."""

    def __init__(self, file: str | None, environ: Mapping[str, str] = os.environ) -> None:
        """`file` is there while it traces, and touched meanwhile. Raise BadUsage where one that is there cannot go."""
        self._file = Path(file) if file else None
        self._socket = environ.get("NOTIFY_SOCKET", "")
        self._every = min(_EVERY, _watchdog_seconds(environ) / 2)
        self._next = 0.0
        if self._file:
            try:
                self._file.unlink(missing_ok=True)
            except OSError as error:
                raise BadUsage(f"{file}: {error.strerror}", "name a file that can be written to") from error

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def begin(self) -> None:
        """Tracing has begun, and telemetry goes out. Raise BadUsage where the file cannot be made."""
        if self._file:
            try:
                self._file.touch()
            except OSError as error:
                raise BadUsage(f"{self._file}: {error.strerror}", "name a file that can be written to") from error
        self._notify("READY=1")

    def go_on(self) -> None:
        """What has come was read. Cheap, to be called often; what goes wrong is seen by who watches."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every
        if self._file:
            try:
                os.utime(self._file)
            except OSError as error:
                logger.debug("%s: %s", self._file, error)
        self._notify("WATCHDOG=1")

    def end(self) -> None:
        """It is to stop, and delivers what there is."""
        self._notify("STOPPING=1")
        if self._file:
            self._file.unlink(missing_ok=True)

    def _notify(self, state: str) -> None:
        if not self._socket:
            return
        address = "\0" + self._socket[1:] if self._socket.startswith("@") else self._socket
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(state.encode(), address)
        except OSError as error:
            logger.debug("the service manager cannot be told: %s", error)


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """How long the service manager waits for this process to say that it goes on."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return float("inf")
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) else float("inf")
