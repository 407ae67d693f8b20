"""What processes are at that a test has started, for those who read why it failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def what_processes_wait_for(session: int) -> Iterator[str]:
    """A line for each thread of each process of a session: its name, its state, and where it waits in the kernel."""
    for process in sorted(Path("/proc").glob("[0-9]*")):
        with suppress(OSError):
            parent, _, in_session = _stat(process)[1:4]
            if int(in_session) != session:
                continue
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            yield f"process {process.name}, child of {parent}: {command}"
            for thread in sorted((process / "task").iterdir()):
                name, waits_in = ((thread / file).read_text().strip() for file in ("comm", "wchan"))
                yield f"  {thread.name} {name}: {_stat(thread)[0]} {waits_in}"


def _stat(process: Path) -> list[str]:
    """The fields of /proc/PID/stat from the state on (proc(5))."""
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
