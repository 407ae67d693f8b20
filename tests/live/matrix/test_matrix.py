"""Each session end of the matrix, field by field against what was done."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_tcplife.error_types import ERROR_TYPES
from tests.live.matrix.ends import COUNTS_TIMEOUTS, NOTHING, End, Key
from tests.live.matrix.failed_connects import CONNECTS
from tests.live.matrix.odd_endings import ENDINGS
from tests.live.matrix.odd_openings import OPENINGS
from tests.live.matrix.sessions import MATRIX
from tests.live.matrix.stage import Played, Scenario, play_all
from tests.support.forkserver import ForkServer
from tests.support.host_agent import HostAgent
from tests.support.libbpf_tcplife import LibbpfTcplife, Row
from tests.support.received import ReceivedLog, read_otlp_json_lines

CORE = "OTEL_TCPLIFE_TEST_CORE"
"""Set where the machine is so slow that only the core of the matrix is played."""


def _core(scenarios: Mapping[str, Scenario]) -> dict[str, Scenario]:
    """Each thing that is done, once; models of processes, families and networks take turns.

    A name begins with what is done, up to its first comma.
    """
    variants: defaultdict[str, list[str]] = defaultdict(list)
    for name in scenarios:
        variants[name.partition(", ")[0]].append(name)
    chosen = (names[turn % len(names)] for turn, names in enumerate(variants.values()))
    return {name: scenarios[name] for name in chosen}


_ALL: dict[str, Scenario] = {**MATRIX, **CONNECTS, **OPENINGS, **ENDINGS}
SCENARIOS = _core(_ALL) if CORE in os.environ else _ALL

_COUNTED = {
    "tcplife.retransmits": "RetransSegs",
    "tcplife.retransmission_timeouts": "TCPTimeouts",
    "tcplife.segments.out_of_order": "TCPOFOQueue",
}
"""What the kernel also counts for all sockets of a network namespace, by its name for it."""

_ROUNDS = 4
"""How often a scenario is played at most, while the kernel hides some of it from all tracers.

Where an interrupt comes while a task runs that the machine shields from tracing, as a guest agent may be, the kernel
runs no tracing program for the state changes in it. libbpf's tcplife, which traces beside us, tells: it has no line.
Nor does it run our program where that runs already for the traffic of others; we count that, and what is known only
from such a state change is absent then.
"""


@dataclass
class Outcome:
    """What was done in a scenario, and all that was reported in the round in which it was played."""

    played: Future[Played]
    logs: Mapping[Key, list[ReceivedLog]]
    peer: list[Row]
    strays: list[ReceivedLog]
    """What was reported in that round from the namespaces made for it, and was not done by any scenario."""
    missed: int
    """State changes that were missed in that round, whosever."""

    @property
    def hidden(self) -> bool:
        """Whether the other tracer has missed some of it, too. It has a line for each failed connect as well."""
        if self.played.exception():
            return False
        played = Counter(end.ports for end in self.played.result().ends if end.event != NOTHING)
        return bool(played - Counter((row.local_port, row.peer_port) for row in self.peer))

    def check(self) -> None:
        """That each end was reported as it was."""
        played = self.played.result()
        reported: Counter[tuple[int, str]] = Counter()
        for end, log in self.records():
            end.expected().check(log)
            for name in _COUNTED:
                reported[end.namespace.inode, name] += int(log.attributes.get(name, 0))
        for namespace, counted in played.counted.items():
            ends = [end for end in played.ends if end.namespace is namespace]
            unreported = sum(end.unreported_syns for end in ends)
            retransmits, timeouts, late = (reported.pop((namespace.inode, name), 0) for name in _COUNTED)
            assert 0 <= counted["RetransSegs"] - retransmits <= unreported
            # The kernel counts the timeout at which it gives up, too
            given_up = sum(end.error is not None for end in ends)
            assert 0 <= counted["TCPTimeouts"] - timeouts <= unreported + given_up or not COUNTS_TIMEOUTS
            # Several segments that came as one are one there
            assert counted["TCPOFOQueue"] <= late
            assert bool(counted["TCPOFOQueue"]) == bool(late)
        # Over the tests' own loopback nothing is lost, but sent again it may be, if the CPUs are busy
        for (_, name), count in reported.items():
            assert count <= played.counted_here[_COUNTED[name]]

    @property
    def may_be_short(self) -> bool:
        """Whether something is absent or wrong that was missed."""
        if not self.missed or self.played.exception():
            return False
        try:
            self.check()
        except AssertionError:
            return True
        return False

    def records(self) -> list[tuple[End, ReceivedLog]]:
        """Each end with its record; where ends have the same addresses and ports, in the order of their time."""
        ends: defaultdict[Key, list[End]] = defaultdict(list)
        reported = {(local_port, peer_port) for _, local_port, _, peer_port in self.logs}
        for end in self.played.result().ends:
            if end.event == NOTHING:
                assert end.ports not in reported, f"{end.key} is reported"
            else:
                ends[end.key].append(end)
        for key, of_key in ends.items():
            assert len(self.logs.get(key, ())) == len(of_key), f"{key} is reported {len(self.logs.get(key, ()))} times"
        return [pair for key, of_key in ends.items() for pair in zip(of_key, self.logs[key])]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    made: dict[str, Outcome] = {}
    to_play = SCENARIOS
    for number in range(_ROUNDS):
        made |= _play(tmp_path_factory.mktemp(f"round{number}"), to_play)
        to_play = {name: SCENARIOS[name] for name, outcome in made.items() if outcome.hidden or outcome.may_be_short}
        if not to_play:
            break
    return made


def _play(directory: Path, scenarios: Mapping[str, Scenario]) -> dict[str, Outcome]:
    with (
        ForkServer() as fork_server,
        HostAgent(["--otlp-file", str(directory), "--no-table"]) as agent,
        LibbpfTcplife() as peer,
    ):
        played = play_all(fork_server, scenarios)
        rows = peer.stop()
        assert agent.stop() == 0
    logs = _by_key(directory)
    strays = _strays(logs, [future.result() for future in played.values() if not future.exception()])
    return {name: Outcome(future, logs, rows, strays, agent.missed) for name, future in played.items()}


def _strays(logs: Mapping[Key, list[ReceivedLog]], played: list[Played]) -> list[ReceivedLog]:
    made = {namespace.inode for each in played for namespace in each.counted}
    keys = {end.key for each in played for end in each.ends}
    others = (log for key, of_key in logs.items() if key not in keys for log in of_key)
    return [log for log in others if log.attributes.get("tcplife.netns") in made]


def _by_key(directory: Path) -> dict[Key, list[ReceivedLog]]:
    logs: defaultdict[Key, list[ReceivedLog]] = defaultdict(list)
    for log in sorted(read_otlp_json_lines(directory / "logs.jsonl").logs, key=lambda log: log.time_unix_nano):
        about = log.attributes
        key = (
            str(about["network.local.address"]),
            log.ports[0],
            str(about["network.peer.address"]),
            log.ports[1],
        )
        logs[key].append(log)
    return dict(logs)


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_end_is_reported_as_it_was(outcomes: dict[str, Outcome], name: str) -> None:
    outcomes[name].check()


def test_each_error_is_one_that_is_listed(outcomes: dict[str, Outcome]) -> None:
    errors = {
        str(log.attributes.get("error.type", "")) for outcome in outcomes.values() for _, log in outcome.records()
    }
    assert {""} < errors <= {"", *ERROR_TYPES}


def test_nothing_else_is_reported(outcomes: dict[str, Outcome]) -> None:
    """A scenario that failed may have left something, too."""
    assert not [log.attributes for outcome in outcomes.values() for log in outcome.strays]


def test_owners_beside_libbpf_tcplife(outcomes: dict[str, Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    """Its owners are only counted; ours have to be right."""
    all_ends = right = ours = 0
    for outcome in outcomes.values():
        theirs = {(row.local_port, row.peer_port, row.pid, row.comm) for row in outcome.peer}
        for end, log in outcome.records():
            if end.owner:
                all_ends += 1
                right += (*end.ports, end.owner.pid, end.owner.comm) in theirs
                ours += (log.attributes["process.pid"], log.attributes["tcplife.comm"]) == (
                    end.owner.pid, end.owner.comm,
                )  # fmt: skip
    with capsys.disabled():
        print(f"\nof {all_ends} ends, libbpf tcplife names the right owner for {right}, otel-tcplife for {ours}")
    assert ours == all_ends
