"""The application's side: starts the helper, has it trace this process, and tells it to stop.

This imports neither NumPy nor Protocol Buffers: an application that has a helper need not have them in its memory.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource

from otel_tcplife import forks
from otel_tcplife.connecting import Announcements
from otel_tcplife.errors import CannotTrace, LacksPrivileges
from otel_tcplife.helper.messages import GO, MOST_BYTES, STOP, encoded, is_open, raise_refusal
from otel_tcplife.log import logger
from otel_tcplife.probe.interpreters import PATIENCE_OF_APPLICATION, this_interpreter
from otel_tcplife.probe.iterator import run_iterator
from otel_tcplife.probe.start_process import start_process, why_not_passed_on
from otel_tcplife.probe.wire import pair, receive

_PROGRAM = str(Path(__file__).with_name("__main__.py"))
_STOPS_WITHIN = 2.0
"""Seconds in which the helper delivers what there is while the application waits for it."""
_INITIAL_NAMESPACES = {"pid": 0xEFFFFFFC, "cgroup": 0xEFFFFFFB}
"""include/linux/proc_ns.h."""


@dataclass(frozen=True)
class LoadedHelper:
    """A helper that has loaded its program, which traces nothing yet."""

    _wire: socket.socket
    _scan: int
    _connecting: int | None
    """The map in which spans are said, see connecting.py."""

    def begin(self) -> Helper:
        """Trace this process, and all that it forks from now on: to be called with forks held off. Raise OSError."""
        try:
            run_iterator(self._scan)
            self._wire.send(GO)
        except BaseException:
            self._wire.close()
            if self._connecting is not None:
                os.close(self._connecting)
            raise
        finally:
            os.close(self._scan)
        return Helper(self._wire.detach(), self._connecting)


class Helper:
    """A helper that traces this process and what it forks, for as long as there are any.

    An application that makes itself a daemon closes all descriptors, and its own get their numbers: what is not the
    socket that it was is left alone.
    """

    def __init__(self, wire: int, connecting: int | None) -> None:
        """Own the descriptors."""
        self._announcements = None if connecting is None else Announcements(connecting, spans=True, exporters=False)
        self._wire = wire
        self._identity = _identity(wire)

    def stop(self) -> list[str]:
        """Have it deliver what there is, and end; return the balance, a line for each part, if that comes in time."""
        if self._announcements:
            self._announcements.end()
        wire = self._socket()
        if wire is None:
            return []
        with wire:
            wire.settimeout(_STOPS_WITHIN)
            with suppress(TimeoutError):  # it goes on by itself
                wire.send(STOP)
                answer = wire.recv(MOST_BYTES)
                if answer:
                    return json.loads(answer)
                _say_that_it_has_gone()
        return []

    def at_exit(self) -> list[str]:
        """Leave it to itself, as it goes on until all that it traces has gone; in a container, it may not go on."""
        if _ends_with_this_process():
            return self.stop()
        wire = self._socket()
        if wire:
            with wire:
                if not is_open(wire):
                    _say_that_it_has_gone()
        return []

    def abandon(self) -> None:
        """In a fork of this process, which the helper traces as well."""
        wire = self._socket()
        if wire:
            wire.close()

    def _socket(self) -> socket.socket | None:
        if self._identity is None or _identity(self._wire) != self._identity:
            return None
        self._identity = None
        return socket.socket(fileno=self._wire)


def start_helper(options: Mapping[str, str], resource: Resource) -> LoadedHelper:
    """Start a helper that exports what the environment says, as of this resource.

    Raise BadUsage where an option or the environment cannot be what was meant, CannotTrace where nothing can be traced.
    """
    interpreter = this_interpreter()
    if not interpreter:
        raise CannotTrace(f"{sys.executable} is no Python to run a helper", "set OTEL_PYTHON_TCPLIFE_EXPORT=providers")
    request = {
        "process": os.getpid(),
        "path": _path(),
        "options": options,
        "resource": dict(resource.attributes),
        "schema_url": resource.schema_url,
        "level": logger.getEffectiveLevel(),
    }
    try:
        wire = _started(interpreter, encoded(request))
    except OSError as error:
        raise CannotTrace(f"no helper can be started: {error.strerror or error}") from error
    try:
        return _answered(wire)
    except LacksPrivileges as error:  # of the helper
        raise CannotTrace(error.problem, why_not_passed_on(interpreter) or error.remedy) from None


def _started(interpreter: str, request: bytes) -> socket.socket:
    ours, theirs = pair(socket.SOCK_SEQPACKET)
    try:
        with theirs:
            descriptor = str(theirs.fileno())
            command = [interpreter, "-I", "-S", _PROGRAM, descriptor, str(os.getpid())]
            with forks.held_off():  # Popen waits for the end of a pipe
                launcher = start_process(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        launcher.wait()  # it ends at once, and leaves the helper to init
        ours.send(request)
    except BaseException:
        ours.close()
        raise
    return ours


def _answered(wire: socket.socket) -> LoadedHelper:
    try:
        wire.settimeout(PATIENCE_OF_APPLICATION)
        message, descriptors = receive(wire, MOST_BYTES)
        answer: Any = json.loads(message or "null")
        if answer is None:
            raise CannotTrace("the helper ended before it traced")
        raise_refusal(answer)
        wire.settimeout(None)
        scan, connecting, *_ = *descriptors, None
        return LoadedHelper(wire, scan, connecting)
    except TimeoutError:  # it goes on compiling for the next start
        wire.close()
        raise CannotTrace(f"the helper was not ready within {PATIENCE_OF_APPLICATION:.0f} s") from None
    except OSError as error:
        wire.close()
        raise CannotTrace(f"the helper does not answer: {error.strerror or error}") from error
    except BaseException:
        wire.close()
        raise


def _path() -> list[str]:
    """Where this process finds modules, but for the directory of its program: those are not what the helper imports.

    The helper looks into Python's own directories before.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    programs = {"", os.getcwd(), os.path.dirname(os.path.abspath(main)) if main else ""}
    paths = [os.path.abspath(path) for path in sys.path if path not in programs]
    return [*paths, str(Path(__file__).parents[2])]


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _ends_with_this_process() -> bool:
    """Whether all others may be killed when this process ends, as in a container whose first process it ends."""
    try:
        return any(os.stat(f"/proc/self/ns/{name}").st_ino != number for name, number in _INITIAL_NAMESPACES.items())
    except OSError:
        return True


def _say_that_it_has_gone() -> None:
    logger.warning("the helper has ended before the application; what it had not exported is lost")
