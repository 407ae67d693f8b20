"""The four questions of docs/backends.md, and what real sessions make the answers to them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from otel_tcplife.instruments import DURATION_BOUNDS
from tests.support.background_process import free_ports
from tests.support.elsewhere import Elsewhere
from tests.support.host_agent import HostAgent
from tests.support.promql import PromqlStore

SENT = 1000
"""Bytes of each session."""


@dataclass
class Made:
    """What a test has made: sessions to one port, and connects to another one that were refused."""

    elsewhere: Elsewhere
    ports: list[int] = field(default_factory=lambda: free_ports(2))
    sessions: int = 0
    refused: int = 0

    @property
    def port(self) -> int:
        """That of the sessions."""
        return self.ports[0]

    def more(self, sessions: int, refused: int) -> None:
        """Make so many more."""
        self.sessions += len(self.elsewhere.sessions(sessions, sent=SENT, to=self.port))
        self.refused += len(self.elsewhere.refused(refused, to=self.ports[1]))


def check_answers(
    store: PromqlStore, queries: Sequence[str], made: Made, agent: HostAgent, durations: Sequence[float]
) -> None:
    """The store knows to the byte what was made; `durations` are those of the sessions, as their records have them."""
    bytes_by, p99_by, failed_by, seen, exported = queries
    program = made.elsewhere.client.executable
    # What one end sends the other one receives, and the two are the same program.
    talkers = store.sums(bytes_by, "process_executable_name", "server_port")
    assert talkers[program, str(made.port)] == 2 * made.sessions * SENT
    assert len(durations) == 2 * made.sessions
    assert store.sums(p99_by, "server_port")[(str(made.port),)] == pytest.approx(_p99(durations))
    failed = store.sums(failed_by, "process_executable_name", "server_port", "error_type")
    assert failed[program, str(made.ports[1]), "ECONNREFUSED"] == made.refused
    outcomes = {outcome: count for (outcome,), count in store.sums(seen, "tcplife_outcome").items()}
    assert sum(outcomes.values()) == sessions_ended(agent)
    records = store.sums(exported, "tcplife_exporter", "tcplife_outcome")
    assert records == {("otlp", "exported"): outcomes["submitted"]}


def sessions_ended(agent: HostAgent) -> int:
    """How many sessions it has seen, as it said at its end."""
    [count] = (int(found[1]) for line in agent.said if (found := re.search(r" (\d+) sessions ended: ", line)))
    return count


def _p99(durations: Sequence[float]) -> float:
    """As histogram_quantile() has it of these, in the buckets of the histogram."""
    bounds = [0.0, *DURATION_BOUNDS]
    rank = 0.99 * len(durations)
    for lower, upper in itertools.pairwise(bounds):
        below, within = (sum(each <= bound for each in durations) for bound in (lower, upper))
        if within >= rank:
            return lower + (upper - lower) * (rank - below) / (within - below)
    return bounds[-1]
