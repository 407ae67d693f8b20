"""A process with capabilities that starts others, in some confinement: what all of its threads and these then have.

    passed_on_main.py CONFINEMENT PYTHON

PYTHON has no capabilities in its file. Prints one object of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource

from otel_tcplife import environment_variables
from otel_tcplife.capabilities import capabilities_of, prctl, set_capabilities
from otel_tcplife.errors import CannotTrace
from otel_tcplife.helper.start import start_helper
from otel_tcplife.options import Options
from otel_tcplife.probe.loader import attach_program, prepare_program
from otel_tcplife.probe.start_process import start_process
from tests.support.seccomp import refuse

_PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 24, 28, 38
_CAP_SETPCAP, _CAP_PERFMON, _NO_CAP_AMBIENT_RAISE = 8, 38, 1 << 6
_SHOW = ["-I", "-S", "-c", "print(open('/proc/thread-self/status').read())"]


def _replace_threads() -> None:
    importlib.import_module("gevent.monkey").patch_all()


_CONFINEMENTS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "no_new_privs": lambda: prctl(_PR_SET_NO_NEW_PRIVS, 1),
    "securebits": lambda: prctl(_PR_SET_SECUREBITS, _NO_CAP_AMBIENT_RAISE),
    "bounding set": lambda: prctl(_PR_CAPBSET_DROP, _CAP_PERFMON),
    "refusing filter": lambda: refuse(["capset"]),
    "killing filter": lambda: refuse(["capset"], kill=True),
    "gevent": _replace_threads,
}


def _give_up_setpcap() -> None:
    own = capabilities_of()
    kept = own.permitted & ~(1 << _CAP_SETPCAP)
    set_capabilities(permitted=kept, effective=kept)


def _of_threads(numbers: Iterable[str]) -> list[tuple[Any, ...]]:
    """What each of these threads has, but for one that has just ended."""
    found = set[tuple[Any, ...]]()
    for number in numbers:
        with suppress(FileNotFoundError, ProcessLookupError):
            found.add(tuple(capabilities_of(Path("/proc/self/task", number, "status"))))
    return sorted(found)


def _of_child(start: Callable[..., subprocess.Popen[Any]], python: str) -> list[str]:
    child = start([python, *_SHOW], stdout=subprocess.PIPE)
    status = child.communicate()[0].decode()
    return [line for line in status.splitlines() if line.startswith("Cap")]


def _error(traces: Callable[[], object]) -> str:
    try:
        traces()
    except CannotTrace as error:
        return str(error)
    return ""


def main() -> None:
    """Do it, and have a program compiled each time, by a process of its own."""
    os.environ[environment_variables.OTEL_PYTHON_TCPLIFE_CACHE] = "none"
    confinement, python = sys.argv[1:]
    if confinement in ("securebits", "bounding set"):
        _CONFINEMENTS[confinement]()
        _give_up_setpcap()
    else:
        _give_up_setpcap()
        _CONFINEMENTS[confinement]()
    going_on = threading.Event()
    for _ in range(3):
        threading.Thread(target=going_on.wait, daemon=True).start()
    threads = os.listdir("/proc/self/task")
    before = _of_threads(threads)
    popen: Callable[..., subprocess.Popen[Any]] = subprocess.Popen
    meanwhile = set[tuple[Any, ...]]()

    def look(*arguments: Any, **options: Any) -> subprocess.Popen[Any]:
        """At all threads that there were before, when a process is about to be started."""
        meanwhile.update(_of_threads(threads))
        return popen(*arguments, **options)

    setattr(subprocess, "Popen", look)  # noqa: B010 for its type
    told: dict[str, Any] = {"passed on": _of_child(start_process, python), "before": before}
    told["errors"] = [_error(lambda: attach_program(prepare_program(Options())).close())]
    sys.executable = python  # as where Python is embedded in the program that has the capabilities
    told["errors"].append(_error(lambda: start_helper({}, Resource.get_empty())))
    told["meanwhile"] = sorted(meanwhile)
    told["after"] = _of_threads(os.listdir("/proc/self/task"))
    told["later"] = _of_child(popen, python)
    told["is_dumpable"] = os.stat("/proc/self/status").st_uid != 0
    print(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
