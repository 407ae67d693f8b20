"""Start a process that has what this one has of the capabilities for tracing.

A process that has them from the file of its program, or in any way but as ambient ones, loses them when it executes
another program, such as the distribution's Python (capabilities(7), "Transformation of capabilities during execve()").
So they are ambient for that moment: in a thread that does nothing but start the process, and ends. All other threads of
the application, and what these start, are as they were.
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from otel_tcplife import capabilities
from otel_tcplife.capabilities import LOADING, Capability, ambient, capabilities_of, prctl

_USEFUL = Capability.SYS_RESOURCE | Capability.DAC_READ_SEARCH
"""docs/privileges.md says what for."""

_PATIENCE = 60.0
_PR_GET_SECUREBITS, _NO_CAP_AMBIENT_RAISE = 27, 1 << 6  # include/uapi/linux/securebits.h
_AMBIENT = "or give it ambient capabilities (AmbientCapabilities=CAP_BPF CAP_PERFMON of a unit)"
_PASSED_ON = "the program that loads is another one, to which capabilities are passed on"
_REMEDIES = {
    "bounding set": f"{_PASSED_ON}: leave them in the bounding set (CapabilityBoundingSet= of a unit)",
    "securebits": f"{_PASSED_ON} as ambient ones: have what started this one leave SECBIT_NO_CAP_AMBIENT_RAISE unset",
    "refused": f"{_PASSED_ON}: have what confines this one (a seccomp filter, SELinux) let capset(2) and prctl(2) "
    f"through, {_AMBIENT}",
    "threads": f"{_PASSED_ON} by a thread: start tracing before something replaces threads (gevent), {_AMBIENT}",
}

_Result = TypeVar("_Result")


class _NoThread(Exception):
    """What should run in a thread of its own would run in this one, as something has replaced Python's threads."""


def start_process(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """As subprocess.Popen, whose options these are; the command begins with a Python. Raise OSError.

    Where capabilities cannot be passed on, the process is started without them, and may not need any.
    """

    def start() -> subprocess.Popen[Any]:
        return subprocess.Popen(command, **options)

    def start_with_capabilities() -> subprocess.Popen[Any]:
        with ambient(passed_on):
            return start()

    passed_on = _to_pass_on()
    if not passed_on or _obstacle(passed_on, command[0]):
        return start()
    return _in_thread(start_with_capabilities)


def why_not_passed_on(python: str) -> str:
    """What mends that processes do not get the capabilities of this one; empty where they do, or there are none.

    Whether a seccomp filter kills is tried by this Python.
    """
    passed_on = _to_pass_on()
    return _REMEDIES.get(_obstacle(passed_on, python), "") if passed_on else ""


def _to_pass_on() -> int:
    """The capabilities for tracing that this thread has, and that what it executes would not have."""
    if os.geteuid() == 0:  # root has all of its bounding set again
        return 0
    try:
        own = capabilities_of()
    except OSError:  # without /proc, which tracing needs
        return 0
    needed = LOADING if own.permitted & LOADING == LOADING else Capability.SYS_ADMIN
    if not own.permitted & needed:
        return 0
    return (needed | _USEFUL & own.permitted & own.bounding) & ~own.ambient


def _obstacle(passed_on: int, python: str) -> str:
    """What keeps capabilities from being passed on, as far as that is known; empty where nothing does."""
    if passed_on & ~capabilities_of().bounding:
        return "bounding set"
    try:
        if _is_deadly(python):
            return "refused"
        _in_thread(lambda: _try(passed_on))
    except _NoThread:
        return "threads"
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return "no more threads"
        return "securebits" if _may_not_be_ambient() else "refused"
    return ""


def _try(passed_on: int) -> None:
    with ambient(passed_on):
        pass


def _is_deadly(python: str) -> bool:
    """Whether a seccomp filter ends a process, or a thread, that changes capabilities: one of its own finds out."""
    if not capabilities_of().is_filtered:
        return False
    command = [python, "-I", "-S", capabilities.__file__]
    nowhere = subprocess.DEVNULL
    try:
        done = subprocess.run(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode < 0


def _may_not_be_ambient() -> bool:
    try:
        return bool(prctl(_PR_GET_SECUREBITS) & _NO_CAP_AMBIENT_RAISE)
    except OSError:
        return False


def _in_thread(function: Callable[[], _Result]) -> _Result:
    """Call it in a thread of its own. Raise what it raises, _NoThread, and OSError where no thread can be started."""
    caller, results, errors = _this_thread(), list[_Result](), list[BaseException]()

    def run() -> None:
        try:
            if _this_thread() == caller:
                raise _NoThread
            results.append(function())
        except BaseException as error:  # noqa: BLE001 it is raised again
            errors.append(error)

    thread = threading.Thread(target=run, name="tcplife-start", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    thread.join()
    for error in errors:
        raise error
    return results[0]


def _this_thread() -> Path:
    """As the kernel has it: what replaces Python's threads has numbers of its own."""
    return Path("/proc/thread-self").readlink()
