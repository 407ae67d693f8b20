"""What the kernel spends in each hook: python -m tests.benchmarks.hooks [ROUNDS].

The kernel counts the runs of each BPF program, and their time, where kernel.bpf_stats_enabled says so
(sysctl/kernel.rst of its documentation); reading the clock twice for each run is in that time.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from otel_tcplife.probe import bpf
from tests.benchmarks.report import row, spread
from tests.benchmarks.subjects import Running, ours

_STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
_PROG_GET_FD_BY_ID = 13
_SECONDS, _RATE = 4, 10_000


class Runs(NamedTuple):
    """Of one program, since it was loaded."""

    times: int
    nanoseconds: int
    instructions: int
    """That the verifier looked at."""


def main(rounds: int) -> None:
    """Print a line for each hook, and the sum of what a connection costs, both of its ends."""
    figures: dict[str, list[tuple[float, float]]] = {}
    instructions: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as directory, _counted_by_the_kernel():
        load = Path(directory) / "load"
        subprocess.run(["cc", "-O2", "-pthread", "-o", load, Path(__file__).with_name("load.c")], check=True)
        for _ in range(rounds):
            with Running(ours("", {"OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"})) as running:
                before = _hooks(running.pid)
                made = subprocess.run(
                    [load, "1", str(_SECONDS), str(_RATE)], check=True, capture_output=True, text=True
                )
                sessions = int(made.stdout.split()[0])
                for name, after in _hooks(running.pid).items():
                    runs = after.times - before[name].times
                    spent = after.nanoseconds - before[name].nanoseconds
                    instructions[name] = after.instructions
                    figures.setdefault(name, []).append((runs / sessions, spent / sessions))
    print("BPF programs, for each connection of this host with itself")
    for name, each in figures.items():
        runs, spent = zip(*each)
        row(name, f"{spread(runs)} runs", f"{spread(spent)} ns", f"{instructions[name]} instructions verified")
    total = [sum(spent for _, spent in of_round) for of_round in zip(*figures.values())]
    row("all hooks", f"{spread(total)} ns")


@contextmanager
def _counted_by_the_kernel() -> Generator[None]:
    before = _STATS.read_text()
    _STATS.write_text("1")
    try:
        yield
    finally:
        _STATS.write_text(before)


def _hooks(process: int) -> dict[str, Runs]:
    """The programs that a process has attached to tracepoints."""
    found: dict[str, Runs] = {}
    for descriptor in Path(f"/proc/{process}/fdinfo").iterdir():
        text = descriptor.read_text()
        if point := re.search(r"^tp_name:\s*(\S+)", text, re.MULTILINE):
            found[point[1]] = _runs(_number(text, "prog_id"))
    return found


def _runs(program: int) -> Runs:
    descriptor = bpf.call(_PROG_GET_FD_BY_ID, (ctypes.c_uint32 * 3)(program))
    try:
        text = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    finally:
        os.close(descriptor)
    return Runs(*(_number(text, name) for name in ("run_cnt", "run_time_ns", "verified_insns")))


def _number(text: str, name: str) -> int:
    [number] = re.findall(rf"^{name}:\s*(\d+)$", text, re.MULTILINE)
    return int(number)


if __name__ == "__main__":
    main(int(next(iter(sys.argv[1:]), 3)))
