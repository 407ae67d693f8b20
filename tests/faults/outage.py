"""What an outage of the receiver costs: made, received, lost, time until all has been sent, memory. `make outage`.

For each protocol and temporality, with the spool and without. Then what the spool costs while the receiver is up.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import unwaiting_main
from tests.faults.balance import read_balance
from tests.faults.counting import CountingReceiver
from tests.faults.replaying import Replaying

_UNWAITING = [sys.executable, unwaiting_main.__file__]
_IN_MEMORY = 60_000
"""Sessions that the queue has room for, less some."""
_TICKS = os.sysconf("SC_CLK_TCK")


def _feed(command: Replaying, first: int, seconds: float, rate: float) -> int:
    """Feed sessions at this rate for so long; return the number after the last one."""
    began, made = time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < seconds:
        wanted = int(elapsed * rate)
        command.feed(range(first + made, first + wanted))
        made = wanted
        time.sleep(0.1)
    return first + made


def _env(temporality: str, spool: str | None) -> dict[str, str]:
    variables = {
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
    }
    return {**variables, "OTEL_PYTHON_TCPLIFE_SPOOL": spool} if spool else variables


def outage(seconds: float, rate: float, protocol: str, temporality: str, spool: str | None) -> str:
    """One outage, from five seconds on until all that waited has been received; return a line of the report."""
    env = _env(temporality, spool)
    with (
        CountingReceiver(protocol) as receiver,
        Replaying({**env, **receiver.env}, command=_UNWAITING, is_shown=False) as command,
    ):
        command.feed(range(0), header=True)
        command.wait_until(lambda: any("replaying" in line for line in command.said))
        made = before = _feed(command, 0, 5, rate)
        receiver.is_away = True
        made = _feed(command, made, seconds, rate)
        on_disk = sum(path.stat().st_size for path in Path(spool).glob("spool.db*")) if spool else 0
        receiver.is_away = False
        back, waited = time.monotonic(), made if spool else min(made, before + _IN_MEMORY)
        while receiver.records < waited:
            made = _feed(command, made, 0.2, rate)
        drained = time.monotonic() - back
        while spool and receiver.records < made:  # what it has not sent when it ends would wait for the next start
            time.sleep(0.05)
        memory = command.most_memory / (1 << 20)
        command.end()
    read_balance(command.said).check()
    lost = f"{made - receiver.records:,} records, {made - receiver.counted:,} in the metrics"
    size = f", {on_disk / (rate * seconds):.0f} bytes of disk a record" if spool else ""
    return (
        f"{made:,} made, {receiver.records:,} received; lost {lost}; drained in {drained:.1f} s, {memory:.0f} MB{size}"
    )


def outages(seconds: float, rate: float, *, only_spooled: bool) -> None:
    """All of them at once, as they wait most of the time."""
    print(f"an outage of {seconds:.0f} s at {rate:.0f} sessions/s", flush=True)
    spools = (True,) if only_spooled else (True, False)
    ways = [*itertools.product(("http/protobuf", "grpc"), ("cumulative", "delta"), spools)]
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(len(ways)) as pool:
        lines = [
            pool.submit(outage, seconds, rate, protocol, temporality, f"{directory}/{number}" if is_spooled else None)
            for number, (protocol, temporality, is_spooled) in enumerate(ways)
        ]
        for (protocol, temporality, is_spooled), line in zip(ways, lines):
            name = f"{protocol}, {temporality}, {'a spool' if is_spooled else 'no spool'}"
            print(f"  {name:38} {line.result()}", flush=True)


def _cpu_of(spool: str | None, sessions: int) -> float:
    """Microseconds of CPU for each session while the receiver takes all at once."""
    env = _env("cumulative", spool)
    with CountingReceiver("http/protobuf") as receiver, Replaying({**env, **receiver.env}, is_shown=False) as command:
        command.feed(range(0), header=True)
        command.wait_until(lambda: any("replaying" in line for line in command.said))
        before = _cpu_seconds(command.pid)
        command.feed(range(sessions))
        command.wait_until(lambda: receiver.records >= sessions)
        used = _cpu_seconds(command.pid) - before
        command.end()
    return used / sessions * 1e6


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cost(sessions: int, rounds: int) -> None:
    """The spool's, in pairs."""
    ratios: list[float] = []
    figures: list[tuple[float, float]] = []
    for _ in range(rounds):
        without = _cpu_of(None, sessions)
        with tempfile.TemporaryDirectory() as directory:
            figures.append((_cpu_of(directory, sessions), without))
        ratios.append(figures[-1][0] / without)
    print(f"CPU with the spool, of that without, {rounds} pairs: {_spread(ratios)}")
    print(f"  microseconds a session, replayed: {_spread([with_spool for with_spool, _ in figures])} with the spool,")
    print(f"  {_spread([without for _, without in figures])} without")


def _spread(figures: Sequence[float]) -> str:
    return f"{statistics.median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, nargs="*", default=[60, 120])
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--only-spooled", action="store_true", help="leave out those without the spool")
    parser.add_argument("--rounds", type=int, default=5, help="of the comparison of CPU; 0 for none")
    arguments = parser.parse_args()
    for seconds in arguments.seconds:
        outages(seconds, arguments.rate, only_spooled=arguments.only_spooled)
    if arguments.rounds:
        cost(200_000, arguments.rounds)
