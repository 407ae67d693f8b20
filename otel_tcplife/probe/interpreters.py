"""The Pythons that may have bcc, and how the helper is run under one."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO

from otel_tcplife import forks
from otel_tcplife.errors import CannotTrace
from otel_tcplife.log import logger
from otel_tcplife.probe import bcc_helper
from otel_tcplife.probe.start_process import start_process

HELPER_MARK = "OTEL_TCPLIFE_BCC_HELPER"
"""Set in the environment of the helper: where every Python of the host is instrumented, by a .pth file, the helper's is
too, and must not trace in turn."""

HELPER_ITSELF = "this is the helper that compiles the BPF program"
"""What is said there."""

DISTRIBUTION = "/usr/bin/python3"
"""The Python of the distribution."""

PATIENCE = 600.0
"""Seconds that a compiler gets which works: with a small share of a CPU, what takes a second takes minutes."""
PATIENCE_OF_APPLICATION = 60.0
"""Seconds that an application waits for one, as it does nothing else meanwhile."""
_HANGS_AFTER = 60.0
"""Seconds without using the CPU at all after which it is taken to hang."""
_PYTHON = re.compile(r"python[0-9.]*")


class NoBcc(Exception):
    """This Python has no bcc."""


def in_helper(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is the helper, or one that it started."""
    return HELPER_MARK in environ


def bcc_interpreters() -> list[str]:
    """The interpreters that may have bcc: this one if it has a module of that name, then the distribution's."""
    here = this_interpreter() if _has_module("bcc") else None
    found = [here] if here else []
    if os.path.exists(DISTRIBUTION) and not (here and os.path.realpath(here) == os.path.realpath(DISTRIBUTION)):
        found.append(DISTRIBUTION)
    return found


def run_helper(interpreter: str, arguments: Sequence[str], request: bytes, patience: float = PATIENCE) -> str:
    """Run the helper; return what it prints.

    Raise NoBcc where the interpreter has no bcc, CannotTrace with the reason where it cannot be run, fails, hangs, or
    has not ended after `patience` seconds.
    """
    if in_helper():
        raise CannotTrace(HELPER_ITSELF, "it traces nothing itself")
    try:
        # Files, not pipes: a child that the application forks meanwhile would keep those open
        with _memory() as stdin, _memory() as stdout, _memory() as stderr:
            stdin.write(request)
            stdin.seek(0)
            status = _run([interpreter, "-I", bcc_helper.__file__, *arguments], stdin, stdout, stderr, patience)
            stderr.seek(0)
            stdout.seek(0)
            errors = stderr.read().decode(errors="replace")
            if errors:
                logger.debug("%s ended with %d, and said:\n%s", interpreter, status, errors)
            if status == bcc_helper.NO_BCC:
                raise NoBcc
            if status:
                raise CannotTrace(_reason(status, errors))
            return stdout.read().decode(errors="replace").strip()
    except subprocess.TimeoutExpired as error:
        raise CannotTrace(f"it was not done within {error.timeout:.0f} s") from None
    except OSError as error:
        raise CannotTrace(error.strerror or str(error)) from None


def this_interpreter() -> str | None:
    """This Python as a program: where it is embedded in another one, such as uWSGI, sys.executable is that one."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    beside = (os.path.join(prefix, "bin", version) for prefix in (sys.prefix, sys.base_prefix))
    for path in (sys.executable, *beside):
        if path and _PYTHON.fullmatch(os.path.basename(path)) and os.access(path, os.X_OK):
            return path
    return None


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # an importer of the application's, or a module without a spec
        return False


def _memory() -> IO[bytes]:
    """A file that needs no file system that can be written to, where the kernel has such."""
    try:
        return open(os.memfd_create("otel-tcplife"), "w+b")
    except OSError:
        return tempfile.TemporaryFile()


def _run(command: Sequence[str], stdin: IO[bytes], stdout: IO[bytes], stderr: IO[bytes], patience: float) -> int:
    from otel_tcplife.probe.program import bpf_directory  # with NumPy, which an application may do without

    environ = {
        **os.environ,
        "BCC_KERNEL_SOURCE": str(bpf_directory() / "shim"),
        HELPER_MARK: "1",
        "OTEL_SDK_DISABLED": "true",  # no agent at all is wanted there
    }
    with forks.held_off():  # Popen waits for the end of a pipe
        process = start_process(command, stdin=stdin, stdout=stdout, stderr=stderr, env=environ)
    try:
        return _waited_for(process, patience)
    except BaseException:
        process.kill()
        process.wait()
        raise


def _waited_for(process: subprocess.Popen[bytes], patience: float) -> int:
    began = time.monotonic()
    used = 0
    while True:
        try:
            return process.wait(min(_HANGS_AFTER, began + patience - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            waited, used_before, used = time.monotonic() - began, used, _cpu_ticks(process.pid)
            if waited >= patience or used == used_before:
                raise subprocess.TimeoutExpired(error.cmd, waited) from None


def _cpu_ticks(process: int) -> int:
    """What it has used of the CPU: utime and stime of /proc/PID/stat, proc_pid_stat(5). 0 where that cannot be read."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[11]) + int(fields[12])
    except (OSError, LookupError, ValueError):
        return 0


def _reason(status: int, errors: str) -> str:
    """The line of the helper's errors that tells most: the compiler's or the kernel's first, else the last one."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    of_the_kernel = ("bpf: ", "bpf_attach_")  # as libbcc begins the lines that it prints
    telling = [line for line in lines if "error:" in line or line.startswith(of_the_kernel) or "bpf: loading" in line]
    if telling or lines:
        return (telling or lines[-1:])[0]
    return f"it was ended by {signal.Signals(-status).name}" if status < 0 else f"it ended with {status}"
