"""Who the threads of a process are, and what they may do (proc_pid_status(5))."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class ThreadStatus(NamedTuple):
    """Of one thread: its ids as real, effective, saved and of the file system, its capabilities as sets of bits."""

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int
    no_new_privileges: int


def threads_of(pid: int) -> list[ThreadStatus]:
    """All threads that the process has now."""
    found: list[ThreadStatus] = []
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        fields = {name: value for name, _, value in (line.partition(":") for line in path.read_text().splitlines())}
        uids, gids, groups = (tuple(map(int, fields[name].split())) for name in ("Uid", "Gid", "Groups"))
        ids = uids, gids, groups
        inheritable, permitted, effective, bounding, ambient = (
            int(fields[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")
        )
        capabilities = (inheritable, permitted, effective, bounding, ambient)
        found.append(ThreadStatus(*ids, *capabilities, int(fields["NoNewPrivs"])))
    return found
