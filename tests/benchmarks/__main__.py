"""Measures the budgets and prints each with its peer of the same run: median, and the least and the most.

It takes less than ten minutes. What an application pays is in application_cost.py, which takes as long.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import growth, hooks, start
from tests.benchmarks.report import row, spread, with_goal
from tests.benchmarks.scan import scan_seconds
from tests.benchmarks.subjects import LIBBPF_TCPLIFE, Receiver, Running, Subject, ours
from tests.support.host_agent import COMMAND
from tests.support.pins import bpffs

_ROUNDS = 3
_SECONDS = 4.0
_RATE = 10_000
"""Sessions a second for the CPU of each: well below what the machine can make, so that nobody loses any."""

_LOGS, _GZIP, _METRICS = "logs + metrics over OTLP/HTTP", "the same, with gzip", "metrics only"
_OF_LIBBPF = {_LOGS: 0.5, _GZIP: 0.8, _METRICS: 0.12}
"""Goals of the CPU for each end, of what libbpf's tcplife takes to print a line."""
_KEPT = {_LOGS: 0.75, _METRICS: 0.85}
"""Goals of the throughput that is kept."""
_MB = {_LOGS: 60.0, _METRICS: 50.0}
"""Goals of the memory, in megabytes."""


def main() -> None:
    """Run all of them."""
    start.main(_ROUNDS)
    with start.own_cache(), tempfile.TemporaryDirectory() as directory:
        load = _built("load", directory)
        cost(load, Path(directory) / "spool")
        with bpffs(Path(directory) / "bpf") as pins:
            restart(pins / "tcplife")
            lost(load)
            slowdown(load, pins / "slowdown")
        scans()
        hooks.main(_ROUNDS)
        growth.main(1, Path(sys.prefix) / "growth.svg")


def scans() -> None:
    """CPU of the scans of open sessions, of which there is one before each export of metrics."""
    print("CPU of a scan of open sessions")
    for ends in (1_000, 100_000):
        seconds = scan_seconds(ends)
        share = statistics.median(seconds) / 60 * 100
        milliseconds = [1000 * each for each in seconds]
        row(f"{ends:,} ends open", f"{spread(milliseconds)} ms", f"{share:.2f} % of a core at the default interval")


def unpin(pins: Path) -> None:
    """Have no program stay that would slow what is measured next."""
    environment = {**os.environ, "OTEL_PYTHON_TCPLIFE_PIN": str(pins)}
    subprocess.run([COMMAND, "--unpin"], env=environment, check=True, stdout=subprocess.DEVNULL)


def _built(program: str, directory: str) -> Path:
    binary = Path(directory) / program
    subprocess.run(["cc", "-O2", "-pthread", "-o", binary, Path(__file__).with_name(f"{program}.c")], check=True)
    return binary


def make_sessions(load: Path, threads: int, seconds: float, rate: float) -> tuple[int, float]:
    """Make sessions on loopback; return how many, and how many a second."""
    made = subprocess.run([load, str(threads), str(seconds), str(rate)], capture_output=True, text=True, check=True)
    sessions, elapsed = made.stdout.split()
    return int(sessions), int(sessions) / float(elapsed)


@contextmanager
def exporting(name: str, **variables: str) -> Generator[Subject]:
    """Our agent with a receiver of its own."""
    with Receiver() as receiver:
        yield ours(name, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, **variables})


def cost(load: Path, spool: Path) -> None:
    """CPU for each session end, start and memory."""
    print(f"CPU of the tracer for each session end ({2 * _RATE} ends/s), its start and its memory")
    ways = {
        _LOGS: {},
        "the same, with a spool": {"OTEL_PYTHON_TCPLIFE_SPOOL": str(spool)},
        _GZIP: {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
        _METRICS: {"OTEL_LOGS_EXPORTER": "none"},
        "the SDK's own path": {"OTEL_LOGS_EXPORTER": "otlp_proto_http", "OTEL_METRICS_EXPORTER": "otlp_proto_http"},
    }
    figures: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(_ROUNDS):
        for name, variables in ways.items():
            with exporting(name, **variables) as subject:
                figures.setdefault(name, []).append(_cost_of(subject, load))
        figures.setdefault(LIBBPF_TCPLIFE.name, []).append(_cost_of(LIBBPF_TCPLIFE, load))
    for name, rounds in figures.items():
        cpu, start, memory = zip(*rounds)
        row(
            name,
            f"CPU {spread(cpu)} us",
            f"start {spread(start)} s",
            f"memory {with_goal(memory, ' MB', _MB.get(name))}",
        )
    peer = LIBBPF_TCPLIFE.name
    for name in ways:
        ratios = [ours[0] / theirs[0] for ours, theirs in zip(figures[name], figures[peer])]
        row(f"CPU of {name} / {peer}", with_goal(ratios, "", _OF_LIBBPF.get(name)))


def _cost_of(subject: Subject, load: Path) -> tuple[float, float, float]:
    with Running(subject) as running:
        before = running.cpu_seconds()
        sessions, _ = make_sessions(load, 1, _SECONDS, _RATE)
        time.sleep(1.5)  # the last of them are exported a second later at most
        used = running.cpu_seconds() - before
        return used / (2 * sessions) * 1e6, running.start_seconds, running.resident_megabytes()


def restart(pins: Path) -> None:
    """A first and a second start with a program that stays in the kernel."""
    print("start with a program that stays")
    starts: tuple[list[float], list[float]] = [], []
    for number in range(_ROUNDS):
        for which in starts:
            with (
                exporting(
                    "", OTEL_PYTHON_TCPLIFE_PIN=str(pins / str(number)), OTEL_PYTHON_TCPLIFE_CACHE="none"
                ) as subject,
                Running(subject) as running,
            ):
                which.append(running.start_seconds)
        unpin(pins / str(number))
    for name, seconds in zip(("the first one", "the second one"), starts):
        row(name, f"{spread(seconds)} s")


def lost(load: Path) -> None:
    """Sessions missing at the highest rate of the machine in the metrics, and at 60,000 ends/s in the logs."""
    print("sessions missing")
    with exporting("metrics", OTEL_LOGS_EXPORTER="none") as subject, Running(subject) as running:
        sessions, rate = make_sessions(load, 2, 10, 0)
        told = running.stop()
    row("in the metrics, 10 s at the highest rate", f"{2 * rate:,.0f} ends/s", *_missing(told, 2 * sessions))
    sdk = {"OTEL_LOGS_EXPORTER": "otlp_proto_http", "OTEL_METRICS_EXPORTER": "none"}
    for way, seconds, variables in (("logs", 30, {}), ("the SDK's logs", 10, sdk)):
        with Receiver() as receiver:
            subject = ours(way, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, **variables})
            with Running(subject) as running:
                sessions, rate = make_sessions(load, 2, seconds, 30_000)
                told = running.stop()
        missing = f"{max(2 * sessions - receiver.records, 0):,} of {2 * sessions:,} missing at the receiver"
        row(f"in {way}, {seconds} s at up to 60,000 ends/s", f"{2 * rate:,.0f} ends/s", missing, _balance(told))


def _missing(told: str, made: int) -> tuple[str, str]:
    ended = re.search(r"(\d+) submitted", told)
    counted = int(ended[1]) if ended else 0
    return f"{max(made - counted, 0):,} of {made:,} missing", _balance(told)


def _balance(told: str) -> str:
    return "; ".join(line.removeprefix("otel-tcplife: ") for line in told.splitlines()[1:])


def slowdown(load: Path, pins: Path) -> None:
    """What is left of the throughput of a connect/close loop on all cores."""
    print("throughput of a connect/close loop on all cores while traced, against untraced")
    kept: dict[str, list[float]] = {}

    def measure(subject: Subject, receiver: Receiver | None = None) -> None:
        untraced = make_sessions(load, 2, _SECONDS, 0)[1]
        with Running(subject):
            before = receiver.cpu_seconds() if receiver else 0
            traced = make_sessions(load, 2, _SECONDS, 0)[1]
            of_receiver = receiver.cpu_seconds() - before if receiver else 0
        kept.setdefault(subject.name, []).append(traced / untraced)
        if receiver:
            cores = len(os.sched_getaffinity(0))
            elsewhere = traced / (1 - of_receiver / (_SECONDS * cores))
            kept.setdefault(f"{subject.name}, if the receiver took nothing", []).append(elsewhere / untraced)

    for _ in range(_ROUNDS):
        with exporting(_METRICS, OTEL_LOGS_EXPORTER="none") as subject:
            measure(subject)
        stays = {"OTEL_PYTHON_TCPLIFE_PIN": str(pins), "OTEL_LOGS_EXPORTER": "none"}
        with exporting("metrics only, a program that stays", **stays) as subject:
            measure(subject)
        unpin(pins)
        with Receiver() as receiver:
            measure(ours(_LOGS, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}), receiver)
        measure(LIBBPF_TCPLIFE)
    for name, ratios in kept.items():
        row(name, with_goal(ratios, "", _KEPT.get(name)))


if __name__ == "__main__":
    main()
