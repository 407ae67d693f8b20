"""The processes that a program of scope `process` traces, in its map: whether any of them is left.

The kernel takes most of them out when they have gone, but not all: a hook does not always run.
"""

from __future__ import annotations

import os
import struct

from otel_tcplife.probe import bpf

_TRACED = struct.Struct("=QII")
"""struct traced in bpf/scope.h."""


class TracedProcesses:
    """Looks at them from a process of the same PID namespace as the tracer."""

    def __init__(self, map_fd: int) -> None:
        self._map_fd = map_fd
        self._sees_states = os.path.exists("/proc/self") and os.readlink("/proc/self") == str(os.getpid())
        """Whether what is mounted at /proc has the numbers of this namespace."""

    def is_any_left(self) -> bool:
        """Whether one of them is. Those that are found gone are deleted, up to the first one that is left."""
        return any(self._is_left(tgid) for tgid in bpf.keys(self._map_fd))

    def forget_gone(self) -> None:
        """Delete all that have gone, so that there is room for others."""
        for tgid in [*bpf.keys(self._map_fd)]:
            self._is_left(tgid)

    def _is_left(self, tgid: int) -> bool:
        value = bpf.lookup(self._map_fd, tgid, _TRACED.size)
        if value is None:
            return False
        _, process, _ = _TRACED.unpack(value)
        if _is_there(process):
            return not (self._sees_states and _has_ended(process))
        bpf.delete(self._map_fd, tgid)  # it was waited for, so what it had open is closed
        return False


def _is_there(process: int) -> bool:
    """Whether a process or a thread has this number: kill(2) tells of all, /proc may hide those of other users."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _has_ended(process: int) -> bool:
    """Whether nobody has waited for a process that has ended, as nobody ever may, or its number is a thread's now."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as stat:
            state = stat.read().rpartition(")")[2].split()[0]
        threads = os.listdir(f"/proc/{process}/task")
    except (OSError, IndexError):
        return False
    # The state is that of the first thread, which may end before the others
    return str(process) not in threads or (state in "ZX" and len(threads) == 1)
