"""A run for hours: sessions at a steady rate, and a receiver that goes away and comes back. `make soak SECONDS=3600`.

Prints memory, descriptors and threads of the command, and fails where they grow or where the balance does not add up.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.balance import read_balance
from tests.faults.counting import CountingReceiver
from tests.faults.replaying import Replaying

_RATE = 1000
"""Sessions a second."""
_CYCLE, _AWAY = 60.0, 20.0
"""Seconds from one time that the receiver goes away to the next, and for how long it is away."""
_SAMPLES = 60
_WARM_UP = 0.3
"""Of the whole time: until then, caches may grow."""
_MOST_GROWTH = 1.1


@dataclass(frozen=True)
class Sample:
    """The command at one moment."""

    seconds: float
    resident_megabytes: float
    descriptors: int
    threads: int
    spool_megabytes: float
    received: int


def sample(command: Replaying, receiver: CountingReceiver, began: float, spool: Path) -> Sample:
    """The command as it is now."""
    process = Path(f"/proc/{command.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Sample(
        time.monotonic() - began,
        int(status["VmRSS"].split()[0]) / 1024,
        len(os.listdir(process / "fd")),
        int(status["Threads"]),
        sum(path.stat().st_size for path in spool.iterdir()) / (1 << 20),
        receiver.records,
    )


def soak(seconds: float, protocol: str) -> list[str]:
    """Run so long; return what was wrong."""
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as directory, CountingReceiver(protocol) as receiver:
        spool = Path(directory) / "spool"
        env = {**receiver.env, "OTEL_PYTHON_TCPLIFE_SPOOL": str(spool), "OTEL_METRIC_EXPORT_INTERVAL": "5000"}
        with Replaying(env) as command:
            command.feed(range(0), header=True)
            command.wait_until(lambda: any("replaying" in line for line in command.said))
            began = time.monotonic()
            made = 0
            while (elapsed := time.monotonic() - began) < seconds:
                receiver.is_away = elapsed % _CYCLE > _CYCLE - _AWAY
                wanted = int(elapsed * _RATE)
                command.feed(range(made, wanted))
                made = wanted
                if elapsed >= seconds * len(samples) / _SAMPLES:
                    samples.append(sample(command, receiver, began, spool))
                    _print(samples[-1])
                time.sleep(random.uniform(0.05, 0.15))
            receiver.is_away = False
            command.wait_until(lambda: receiver.records >= made)
            code = command.end()
        balance = read_balance(command.said)
    return [
        *_grown(samples),
        *_unbalanced(lambda: balance.check()),
        *_differing(made, receiver, balance.exported, code),
    ]


def _print(each: Sample) -> None:
    print(
        f"{each.seconds:8.0f} s  {each.resident_megabytes:6.1f} MB  {each.descriptors:3} descriptors  "
        f"{each.threads:2} threads  spool {each.spool_megabytes:6.1f} MB  {each.received:>11,} received",
        flush=True,
    )


def _grown(samples: Sequence[Sample]) -> list[str]:
    """What has grown between the time after the warm-up and the end."""
    warm = samples[int(len(samples) * _WARM_UP) :]
    first, last = warm[: len(warm) // 3], warm[-len(warm) // 3 :]
    values: dict[str, Callable[[Sample], float]] = {
        "resident memory": lambda each: each.resident_megabytes,
        "descriptors": lambda each: each.descriptors,
        "threads": lambda each: each.threads,
    }
    wrong: list[str] = []
    for name, value in values.items():
        before, after = max(map(value, first)), max(map(value, last))
        print(f"{name}: at most {before:.1f} after the warm-up, {after:.1f} at the end")
        if after > before * _MOST_GROWTH:
            wrong.append(f"{name} has grown from {before:.1f} to {after:.1f}")
    return wrong


def _unbalanced(check: Callable[[], None]) -> list[str]:
    try:
        check()
    except AssertionError as error:
        return [f"the balance does not add up: {error}"]
    return []


def _differing(made: int, receiver: CountingReceiver, exported: int, code: int) -> list[str]:
    print(f"{made:,} made, {exported:,} exported, {receiver.records:,} received, {receiver.counted:,} in the metrics")
    same = made == exported == receiver.records == receiver.counted and code == 0
    return [] if same else [f"these are not the same, or the command has failed (exit code {code})"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("--protocol", default="http/protobuf")
    arguments = parser.parse_args()
    wrong = soak(arguments.seconds, arguments.protocol)
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))
