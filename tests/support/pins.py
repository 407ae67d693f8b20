"""A bpffs of a test's own, and agents that leave their program in it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from otel_tcplife.probe import bpf
from otel_tcplife.probe.counters import Counters
from otel_tcplife.probe.ring import Ring
from tests.support.host_agent import HostAgent
from tests.support.patience import PATIENCE
from tests.support.received import ReceivedLog, read_otlp_json_lines
from tests.support.traffic import Traffic

PIN = "OTEL_PYTHON_TCPLIFE_PIN"


@contextmanager
def bpffs(directory: Path) -> Generator[Path]:
    """Mount one on the directory, which is made; all that is pinned there goes with it."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


class Pinned:
    """Agents, one after the other, with a directory of pins, whose telemetry goes to one directory."""

    def __init__(self, pins: Path, output: Path) -> None:
        self.pins = pins
        self.output = output

    def agent(self, env: Mapping[str, str] = {}, *, run: Sequence[str] = ()) -> HostAgent:
        """One that is not started yet."""
        arguments = ["--otlp-file", str(self.output), "--no-table"]
        return HostAgent(arguments, {PIN: str(self.pins), **env}, run=run)

    def logs(self) -> list[ReceivedLog]:
        """All records so far."""
        path = self.output / "logs.jsonl"
        return read_otlp_json_lines(path, growing=True).logs if path.exists() else []

    def wait_for(self, traffic: Traffic, ends: int) -> list[ReceivedLog]:
        """Wait until the files have so many ends of its sessions, or more, and return these.

        An end that the kernel has kept from the program, and that was counted as such, has no record: while programs of
        others are attached and detached, that happens to about one of 100,000.
        """
        deadline = time.monotonic() + PATIENCE
        while len(found := traffic.of(self.logs())) + self.not_followed < ends:
            assert time.monotonic() < deadline, f"{len(found)} of {ends}"
            time.sleep(0.2)
        return found

    @property
    def not_followed(self) -> int:
        """How many ends the program knows to have missed, those of others included."""
        with self._maps("counters") as [counters_fd]:
            counters = Counters(counters_fd, bpf.map_info(counters_fd).max_entries)
            count = counters.read()["NOT_FOLLOWED"]
            counters.unmap()
        return count

    def wait_until_counted(self, ended: int) -> None:
        """Wait until what the kernel has counted is so many sessions that runs have had, and those that none has read.

        Others have sessions meanwhile, so that it may be another number from one reading to the next.
        """
        deadline = time.monotonic() + PATIENCE
        with self._maps("counters", "ring", "awaiting_owner") as [counters_fd, ring_fd, awaiting]:
            counters = Counters(counters_fd, bpf.map_info(counters_fd).max_entries)
            ring = Ring(ring_fd, bpf.map_info(ring_fd).max_entries)
            while counters.read()["SEEN"] != (total := ended + ring.waiting + len(list(bpf.keys(awaiting)))):
                assert time.monotonic() < deadline, f"{counters.read()['SEEN']} sessions were seen, not {total}"
            ring.unmap()
            counters.unmap()

    @contextmanager
    def _maps(self, *names: str) -> Generator[list[int]]:
        """Descriptors of pinned maps."""
        [directory] = self.pins.iterdir()
        with ExitStack() as stack:
            descriptor = os.open(directory, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            maps = [bpf.pinned(descriptor, f"map_{name}") for name in names]
            for each in maps:
                stack.callback(os.close, each)
            yield maps


def balance_of(agent: HostAgent) -> tuple[int, dict[str, int], dict[str, int]]:
    """Of an agent that has ended: how many sessions ended, what became of them, and of the records in its file."""
    [seen] = [int(found[1]) for line in agent.said if (found := re.search(r": (\d+) sessions ended", line))]
    return seen, _counts(agent, r"\d+ sessions ended"), _counts(agent, "file")


def _counts(agent: HostAgent, what: str) -> dict[str, int]:
    lines = [found[1] for line in agent.said if (found := re.fullmatch(rf"otel-tcplife: {what}: (.*)", line))]
    counts = {outcome: int(count) for line in lines for count, outcome in re.findall(r"(\d+) ([a-z_]+)", line)}
    return {outcome: count for outcome, count in counts.items() if outcome not in ("interim", "state")}
