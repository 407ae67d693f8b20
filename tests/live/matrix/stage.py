"""Plays scenarios, several at the same time, each between networks that nobody else uses meanwhile."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from tests.live.matrix.ends import End
from tests.live.matrix.network import FAMILIES, Family, Namespace, Network, made_loopback, own_loopback, veth
from tests.support.forkserver import ForkServer

STAGES = 12


@dataclass
class Stage:
    """Networks of one scenario at a time."""

    fork_server: ForkServer
    loopback: Network
    made_loopback: Network
    veth: Network

    @classmethod
    def make(cls, fork_server: ForkServer, number: int) -> Stage:
        """The stage of this number; no two numbers have an address in common."""
        return cls(fork_server, own_loopback(number), made_loopback(fork_server), veth(fork_server, number))


@dataclass
class Played:
    """What came of a scenario."""

    ends: list[End] = field(default_factory=list[End])
    counted: dict[Namespace, Counter[str]] = field(default_factory=dict[Namespace, Counter[str]])
    """What the kernel counted meanwhile in the namespaces where only these ends are."""
    counted_here: Counter[str] = field(default_factory=Counter[str])
    """What it counted of anybody in the namespace of the tests."""


Scenario = Callable[[Stage], list[End]]
Play = Callable[[Stage, Network, Family], list[End]]


@dataclass
class Programme:
    """Scenarios by their names; the families and the networks of this stage's own take turns."""

    scenarios: dict[str, Scenario] = field(default_factory=dict[str, Scenario])

    def add(self, name: str, play: Play, times: int = 2, *, only_veth: bool = False) -> None:
        """A scenario that is played so often, where and with what comes next."""
        for turn in range(len(self.scenarios), len(self.scenarios) + times):
            family, over_veth = FAMILIES[turn % len(FAMILIES)], only_veth or turn % 2 == 1
            scenario = partial(_play_in, play, family, over_veth)
            self.scenarios[f"{name}, {family.name}, {'veth' if over_veth else 'loopback'}"] = scenario


def _play_in(play: Play, family: Family, over_veth: bool, stage: Stage) -> list[End]:
    return play(stage, stage.veth if over_veth else stage.made_loopback, family)


def play_all(fork_server: ForkServer, scenarios: Mapping[str, Scenario]) -> dict[str, Future[Played]]:
    """Play them all; a scenario that fails leaves its exception."""
    stages: queue.SimpleQueue[Stage] = queue.SimpleQueue()
    for number in range(1, STAGES + 1):
        stages.put(Stage.make(fork_server, number))

    def play(scenario: Scenario) -> Played:
        stage = stages.get()
        try:
            return _play(stage, scenario)
        finally:
            stages.put(stage)

    with ThreadPoolExecutor(STAGES) as pool:
        return {name: pool.submit(play, scenario) for name, scenario in scenarios.items()}


def _play(stage: Stage, scenario: Scenario) -> Played:
    made, here = stage.made_loopback.namespaces | stage.veth.namespaces, stage.loopback.client
    before = {namespace: namespace.counters() for namespace in made | {here}}
    ends = scenario(stage)
    after = {namespace: namespace.counters() - counters for namespace, counters in before.items()}
    return Played(ends, {namespace: after[namespace] for namespace in made}, after[here])
