"""Metrics of several containers and pods: each below the resource of its own, and forgotten with it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.sdk.metrics.export import MetricsData, NumberDataPoint

from otel_tcplife.conventions import entity_attributes
from otel_tcplife.export.metrics import aggregator as aggregator_module
from otel_tcplife.export.metrics import series
from otel_tcplife.export.metrics.aggregator import FORGET_AFTER, Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.host import THE_HOST, Entity, Host
from otel_tcplife.instruments import CARDINALITY_LIMIT
from otel_tcplife.session import SessionBatch
from tests.support.entities import ENTITIES, HOST, RESOURCES, spread
from tests.support.sessions import sessions


def _counts(data: MetricsData) -> dict[Entity, dict[str, int]]:
    """Sessions in the histogram of durations, by what they are of and by program."""
    counts: dict[Entity, dict[str, int]] = {}
    for each in data.resource_metrics:
        attributes = each.resource.attributes
        entity = Entity(str(attributes.get("container.id", "")), str(attributes.get("k8s.pod.uid", "")))
        assert ("service.name" in attributes) == (entity == THE_HOST)
        assert entity not in counts
        for metric in each.scope_metrics[0].metrics:
            if metric.name == "tcplife.session.duration":
                counts[entity] = {
                    str((point.attributes or {}).get("process.executable.name", "overflow")): point.count
                    for point in metric.data.data_points
                    if not isinstance(point, NumberDataPoint)
                }
    return counts


def _points(data: MetricsData) -> int:
    return sum(
        len(metric.data.data_points)
        for each in data.resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
    )


def _of(cgroup: int, programs: Iterable[str]) -> SessionBatch:
    names = [*programs]
    batch = spread(sessions(len(names)), [cgroup] * len(names))
    batch["executable"] = [name.encode() for name in names]
    return batch


@pytest.mark.parametrize("preference", [Preference(), Preference(True, True), Preference(exponential=True)])
def test_the_metrics_of_each_are_below_its_resource(preference: Preference) -> None:
    aggregator = Aggregator(RESOURCES, preference, {}, HOST)
    for cgroup in (0, 1, 2, 3, 5):
        aggregator.add(_of(cgroup, ["a", "b"]))
    counts = _counts(aggregator.collect())
    twice = {"a": 2, "b": 2}
    once = {"a": 1, "b": 1}
    assert counts == {entity: twice if entity == ENTITIES[1] else once for entity in ENTITIES}


def test_deltas_that_were_put_back_stay_below_their_resource() -> None:
    aggregator = Aggregator(RESOURCES, Preference(True, True), {}, HOST)
    for number in range(3):
        for cgroup in range(4):
            aggregator.add(_of(cgroup, ["a"]))
        data = aggregator.collect()
        assert _counts(data) == {entity: {"a": number + 1} for entity in ENTITIES}
        aggregator.put_back(range(_points(data)))


def test_the_limit_is_that_of_each() -> None:
    aggregator = Aggregator(RESOURCES, Preference(), {}, HOST)
    for cgroup in (1, 2):
        aggregator.add(_of(cgroup, (f"program-{row}" for row in range(CARDINALITY_LIMIT + 5))))
    aggregator.add(_of(3, ["a"]))
    counts = _counts(aggregator.collect())
    for entity in ENTITIES[1:3]:
        assert len(counts[entity]) == CARDINALITY_LIMIT
        assert counts[entity]["overflow"] == 6
    assert counts[ENTITIES[3]] == {"a": 1}


def test_the_limit_of_all_leaves_each_an_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MOST_ROWS", 10)
    aggregator = Aggregator(RESOURCES, Preference(), {}, HOST)
    for cgroup in (1, 2):
        aggregator.add(_of(cgroup, (f"program-{row}" for row in range(15))))
        aggregator.collect()
    counts = _counts(aggregator.collect())
    assert {entity: sum(each.values()) for entity, each in counts.items()} == dict.fromkeys(ENTITIES[1:3], 15)
    assert counts[ENTITIES[2]] == {"overflow": 15}


def test_more_entities_than_there_may_be_are_counted_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MOST_ENTITIES", 2)
    aggregator = Aggregator(RESOURCES, Preference(), {}, HOST)
    for cgroup in (1, 2, 3, 3, 0):
        aggregator.add(_of(cgroup, ["a"]))
        aggregator.collect()
    counts = _counts(aggregator.collect())
    assert counts == {ENTITIES[1]: {"a": 1}, ENTITIES[2]: {"a": 1}, THE_HOST: {"overflow": 2, "a": 1}}


class _Clock:
    """In the place of the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(aggregator_module, "time", made)
    return made


def _start(data: MetricsData, entity: Entity) -> int:
    [start] = {
        point.start_time_unix_nano
        for each in data.resource_metrics
        if {**each.resource.attributes}.items() >= entity_attributes(entity).items()
        for metric in each.scope_metrics[0].metrics
        for point in metric.data.data_points
    }
    return start


def test_what_is_idle_is_forgotten_and_begins_anew(clock: _Clock) -> None:
    aggregator = Aggregator(RESOURCES, Preference(), {}, HOST)
    aggregator.add(_of(1, ["a"]))
    first = aggregator.collect()
    aggregator.put_back([])
    clock.now += FORGET_AFTER - 1
    assert _counts(aggregator.collect()) == {ENTITIES[1]: {"a": 1}}
    aggregator.put_back([])
    clock.now += 2
    assert _counts(aggregator.collect()) == {}
    forgotten_at = clock.time_ns()
    aggregator.put_back([])
    clock.now += 60
    aggregator.add(_of(1, ["b"]))
    again = aggregator.collect()
    assert _counts(again) == {ENTITIES[1]: {"b": 1}}
    assert _start(again, ENTITIES[1]) == forgotten_at > _start(first, ENTITIES[1])


def test_what_the_host_itself_had_is_never_forgotten(clock: _Clock) -> None:
    aggregator = Aggregator(RESOURCES, Preference(), {}, HOST)
    aggregator.add(_of(0, ["a"]))
    for _ in range(3):
        assert _counts(aggregator.collect()) == {THE_HOST: {"a": 1}}
        aggregator.put_back([])
        clock.now += 10 * FORGET_AFTER


@pytest.mark.parametrize("outcome", ["not delivered", "not known"])
def test_what_was_not_delivered_is_kept(clock: _Clock, outcome: str) -> None:
    """However long the receiver is away, and however long the interval is."""
    aggregator = Aggregator(RESOURCES, Preference(), {}, HOST)
    aggregator.add(_of(1, ["a"]))
    clock.now += 10 * FORGET_AFTER
    for _ in range(3):
        data = aggregator.collect()
        assert _counts(data) == {ENTITIES[1]: {"a": 1}}
        if outcome == "not delivered":
            aggregator.put_back(range(_points(data)))
        clock.now += 10 * FORGET_AFTER
    aggregator.put_back([])
    assert _counts(aggregator.collect()) == {}


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("preference", "containers"), [(Preference(), 100_000), (Preference(True, True), 20_000)])
def test_memory_stays_flat_over_many_containers(clock: _Clock, preference: Preference, containers: int) -> None:
    """As on a host that starts 100,000 within a day, where each lives for a moment."""
    host = Host(lambda cgroup: Entity(f"{cgroup:064x}"))
    aggregator = Aggregator(RESOURCES, preference, {}, host)
    sizes: list[int] = []
    seen = 0
    for minute in range(containers // 1000):
        batch = sessions(1000)
        batch["cgroup"] = np.arange(1000) + 1000 * minute
        aggregator.add(batch)
        counts = _counts(aggregator.collect())
        seen += sum(entity.container_id >= f"{1000 * minute:064x}" for entity in counts)
        aggregator.put_back([])
        clock.now += 2 * FORGET_AFTER
        sizes.append(_resident_bytes())
    assert seen == containers
    half = len(sizes) // 2
    # Less than one object of each would take
    assert max(sizes[half:]) - max(sizes[:half]) < containers // 2 * 100
