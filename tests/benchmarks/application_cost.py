"""What an application pays for its sessions, by who exports them: python -m tests.benchmarks.application_cost [ROUNDS].

HTTP servers under the agent answer one request on each connection, or 100. The CPU time is the user and system time of
all processes of the server; that of the same without the plugin is subtracted.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.report import spread
from tests.benchmarks.start import own_cache
from tests.benchmarks.subjects import SERVERS, Receiver, Running, instrumented
from tests.support.helpers import helpers_of

_SECONDS = 4.0
_WAYS = {
    "without": {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "tcplife"},
    "providers": {"OTEL_PYTHON_TCPLIFE_EXPORT": "providers"},
    "helper": {"OTEL_PYTHON_TCPLIFE_EXPORT": "helper"},
}


class Cost(NamedTuple):
    """Of one run."""

    rate: float
    cpu: float
    """Microseconds for each request, of the application."""
    start: float
    memory: float
    """Megabytes, of the largest process of the application."""
    helper_cpu: float
    helper_memory: float


def main(rounds: int) -> None:
    """Measure the ways one after the other, so many times."""
    with own_cache(), tempfile.TemporaryDirectory() as directory:
        requests = Path(directory) / "requests"
        source = Path(__file__).with_name("requests.c")
        subprocess.run(["cc", "-O2", "-pthread", "-o", requests, source], check=True)
        for server in SERVERS:
            for per_connection in (1, 100):
                costs: dict[str, list[Cost]] = {name: [] for name in _WAYS}
                for _ in range(rounds):
                    for name, variables in _WAYS.items():
                        costs[name].append(_cost(requests, server, per_connection, variables))
                print(f"{server}, {per_connection} on a connection", flush=True)
                _report(costs)


def _report(costs: dict[str, list[Cost]]) -> None:
    for name, of_way in costs.items():
        both = [*zip(of_way, costs["without"])]
        figures = {
            "requests/s kept": [one.rate / without.rate for one, without in both],
            "us more a request": [one.cpu - without.cpu for one, without in both],
            "s later": [one.start - without.start for one, without in both],
            "MB": [one.memory for one in of_way],
            "helper: us a request": [one.helper_cpu for one in of_way],
            "MB of it": [one.helper_memory for one in of_way],
        }
        print(f"  {name}", *(f"    {spread(row)} {what}" for what, row in figures.items()), sep="\n", flush=True)


def _cost(requests: Path, server: str, per_connection: int, variables: dict[str, str]) -> Cost:
    with Receiver() as receiver:
        subject = instrumented({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, **variables}, server)
        with Running(subject) as running:
            [port] = re.findall(SERVERS[server][1], running.text())
            time.sleep(1)  # what is imported when tracing has begun is part of the start; workers are forked
            helper = next(iter(helpers_of(running.pid)), None)
            processes = [running.pid, *_children(running.pid)]
            before = sum(map(_cpu, processes)), _cpu(helper)
            asked = [requests, port, str(_SECONDS), str(per_connection)]
            answered, elapsed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
            time.sleep(2)  # what is left is exported meanwhile
            used, by_helper = sum(map(_cpu, processes)) - before[0], _cpu(helper) - before[1]
            memory = max(map(_memory, processes)), _memory(helper)
        return Cost(
            int(answered) / float(elapsed),
            used / int(answered) * 1e6,
            running.start_seconds,
            memory[0],
            by_helper / int(answered) * 1e6,
            memory[1],
        )


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _cpu(process: int | None) -> float:
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _memory(process: int | None) -> float:
    if process is None:
        return 0.0
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


if __name__ == "__main__":
    main(int(next(iter(sys.argv[1:]), 5)))
