"""Sessions that go on are counted while they go on, and nothing of them twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Counter as CounterInstrument
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricsData, NumberDataPoint

from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.sdk.record import ProviderMetrics
from otel_tcplife.instruments import ACTIVE
from otel_tcplife.pipeline.scan_requests import ScanRequests
from otel_tcplife.probe import iterator
from otel_tcplife.probe.scan import Scan
from otel_tcplife.session import Event, SessionBatch, empty, rows_at
from tests.support.entities import HOST, RESOURCES
from tests.support.sessions import sessions

IO, RETRANSMITS = "tcplife.io", "tcplife.retransmits"
Key = tuple[object, ...]


class Told:
    """The program's part: what it says of one session at each scan, and at its end."""

    def __init__(self, number: int) -> None:
        self.row = sessions(1)
        self.row["id"], self.row["cgroup"], self.row["executable"] = number, number, f"p{number % 3}".encode()
        self.row["role"], self.row["peer_port"] = 1, 80

    def goes_on(self, sent: int, received: int, retransmits: int) -> None:
        self.row["bytes_sent"] += np.uint64(sent)
        self.row["bytes_received"] += np.uint64(received)
        self.row["retransmits"] += np.uint32(retransmits)

    def scanned(self) -> SessionBatch:
        now = rows_at(self.row, np.zeros(1, np.intp))
        now["event"] = Event.SESSION_PROGRESS
        for column in ("bytes_sent", "bytes_received", "retransmits"):
            self.row[f"counted_{column}"] = self.row[column]
        return now


def _values(data: MetricsData | None) -> Counter[Key]:
    """The values of both sums, by resource, metric and attributes."""
    values: Counter[Key] = Counter()
    for each in data.resource_metrics if data else ():
        entity = each.resource.attributes.get("container.id"), each.resource.attributes.get("k8s.pod.uid")
        for metric in each.scope_metrics[0].metrics:
            if metric.name in (IO, RETRANSMITS):
                for point in metric.data.data_points:
                    values[(*entity, metric.name, frozenset((point.attributes or {}).items()))] += _value(point)
    return values


def _value(point: Any) -> int:
    return point.value


_MOVES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 900), st.integers(0, 900), st.integers(0, 3)), max_size=6)


@settings(max_examples=100)
@given(intervals=st.lists(_MOVES, min_size=1, max_size=5), delta=st.booleans(), lost=st.sets(st.integers(0, 4)))
def test_the_sum_over_all_intervals_is_what_was_moved(
    intervals: list[list[tuple[int, int, int, int]]], delta: bool, lost: set[int]
) -> None:
    """Also where exports are not delivered and come again."""
    aggregator = Aggregator(RESOURCES, Preference(delta, delta), {}, HOST)
    of_sessions = [Told(number) for number in range(5)]
    delivered: Counter[Key] = Counter()
    for number, moves in enumerate(intervals):
        for which, *moved in moves:
            of_sessions[which].goes_on(*moved)
        aggregator.add_open(np.concatenate([each.scanned() for each in of_sessions[:3]]), is_last=False)
        aggregator.add_open(np.concatenate([each.scanned() for each in of_sessions[3:]]), is_last=True)
        data = aggregator.collect()
        if number in lost:
            aggregator.put_back(range(sum(_points(data))))
            continue
        aggregator.put_back([])
        delivered = delivered + _values(data) if delta else _values(data)
    for each in of_sessions:
        each.goes_on(1, 0, 0)
        aggregator.add(each.row)
    last = _values(aggregator.collect())
    delivered = delivered + last if delta else last
    sent = sum(value for key, value in delivered.items() if ("network.io.direction", "transmit") in _attributes(key))
    everything = sum(delivered.values())
    rows = np.concatenate([each.row for each in of_sessions])
    assert sent == int(rows["bytes_sent"].sum())
    assert everything == sum(int(rows[each].sum()) for each in ("bytes_sent", "bytes_received", "retransmits"))


def _attributes(key: Key) -> frozenset[tuple[str, object]]:
    found = key[-1]
    assert isinstance(found, frozenset)
    return found  # pyright: ignore[reportUnknownVariableType]


def _points(data: MetricsData) -> Iterator[int]:
    for each in data.resource_metrics:
        for metric in each.scope_metrics[0].metrics:
            yield len(metric.data.data_points)


@pytest.mark.parametrize("delta", [False, True])
def test_a_provider_is_told_the_same(delta: bool) -> None:
    temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    reader = InMemoryMetricReader({CounterInstrument: temporality})
    by_the_sdk = ProviderMetrics(MeterProvider([reader], shutdown_on_exit=False))
    aggregator = Aggregator(RESOURCES, Preference(delta, delta), {})
    of_sessions = [Told(number) for number in range(5)]
    for _ in range(3):
        for number, each in enumerate(of_sessions):
            each.goes_on(100 * number, 7, number)
        rows = np.concatenate([each.scanned() for each in of_sessions])
        for which in (aggregator, by_the_sdk):
            which.add_open(rows, is_last=True)
        assert _values(aggregator.collect()) == _values(reader.get_metrics_data())
    rows = np.concatenate([each.row for each in of_sessions])
    rows["event"][0], rows["retransmits"][0] = Event.CONNECT_FAILED, 3
    for which in (aggregator, by_the_sdk):
        which.add(rows)
    assert _values(aggregator.collect()) == _values(reader.get_metrics_data())


def test_what_shrinks_is_not_counted_backwards() -> None:
    """The first byte of an adopted session may turn out to be its SYN."""
    row = sessions(1)
    row["bytes_sent"], row["counted_bytes_sent"] = 9, 10
    aggregator = Aggregator(RESOURCES, Preference(), {})
    aggregator.add(row)
    assert {*_values(aggregator.collect()).values()} == {0}


def _active(aggregator: Aggregator) -> dict[tuple[object, ...], int]:
    values: dict[tuple[object, ...], int] = {}
    for each in aggregator.collect().resource_metrics:
        for metric in each.scope_metrics[0].metrics:
            for point in metric.data.data_points if metric.name == ACTIVE.name else ():
                attributes = sorted((point.attributes or {}).values(), key=str)
                values[(each.resource.attributes.get("container.id", ""), *attributes)] = _value(point)
    return values


def _open(cgroups: Iterable[int], program: str) -> SessionBatch:
    batch = sessions(len([*cgroups]))
    batch["cgroup"], batch["executable"], batch["role"] = [*cgroups], program.encode(), 1
    batch["event"] = Event.SESSION_PROGRESS
    return batch


def test_the_open_ones_are_counted_by_who_has_them() -> None:
    total = 0
    aggregator = Aggregator(RESOURCES, Preference(True, True), {ACTIVE: lambda: [({}, total)]}, HOST)
    assert _active(aggregator) == {("",): 0}
    total = 6
    aggregator.add_open(_open([0, 1], "a"), is_last=False)
    aggregator.add_open(_open([1, 0, 0], "a"), is_last=True)
    in_container = ("c" * 64, 80, "a", "client")
    assert _active(aggregator) == {("", 80, "a", "client"): 3, in_container: 2, ("",): 1}
    total = 1
    aggregator.add_open(_open([0], "b"), is_last=True)
    assert _active(aggregator) == {("", 80, "a", "client"): 0, in_container: 0, ("", 80, "b", "client"): 1, ("",): 0}
    total = 0
    aggregator.add_open(empty(0), is_last=True)
    assert _active(aggregator) == {("", 80, "b", "client"): 0, ("",): 0}
    aggregator.add_open(empty(0), is_last=True)
    assert _active(aggregator) == {("",): 0}


def test_a_session_that_ended_while_it_was_scanned_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not its end has seen what the scan had counted."""
    told = [Told(number) for number in range(3)]
    for each in told:
        each.goes_on(10, 20, 1)
        each.scanned()
        each.goes_on(5, 6, 1)
    rows = np.concatenate([each.scanned() for each in told])
    rows["doubtful"] = [0, 1, 1]
    output: list[bytes] = [rows.tobytes()]

    def written(_link: int) -> Iterator[bytes]:
        return iter(output)

    monkeypatch.setattr(iterator, "written_by_iterator", written)
    scan = Scan(-1)
    aggregator = Aggregator(RESOURCES, Preference(), {})
    for batch in scan.run():
        aggregator.add_open(batch, is_last=False)
    assert _total(aggregator) == 5 + 6 + 1
    ends = np.concatenate([each.row for each in told])
    for column, count in (("bytes_sent", 10), ("bytes_received", 20), ("retransmits", 1)):
        ends[f"counted_{column}"][2] = count  # of one that has not
    scan.settle(ends)
    aggregator.add(ends)
    assert _total(aggregator) == 3 * (5 + 6 + 1)


def _total(aggregator: Aggregator) -> int:
    return sum(_values(aggregator.collect()).values())


def test_an_export_waits_for_a_scan_that_began_after_it() -> None:
    scans, began = ScanRequests(), threading.Event()
    waited: list[int] = []

    def export() -> None:
        began.set()
        scans.wait()
        waited.append(scanned)

    thread = threading.Thread(target=export)
    scanned = 0
    scans.begin()  # one that began before is none for it
    thread.start()
    began.wait()
    while not scans.is_wanted:
        time.sleep(0.001)
    scans.end()
    scanned = 1
    scans.begin()
    scans.end()
    thread.join()
    assert waited == [1]
    scans.close()
    scans.wait()


class _StoppedMeanwhile(ScanRequests):
    """Tracing ends while a scan is waited for."""

    def __init__(self, metrics: ProviderMetrics) -> None:
        super().__init__()
        self._metrics = metrics

    def wait(self) -> None:
        self._metrics.end()


def test_tracing_may_end_while_a_provider_collects(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK would log a traceback of a callback that fails."""
    reader = InMemoryMetricReader()
    metrics = ProviderMetrics(MeterProvider([reader], shutdown_on_exit=False))
    metrics.observe({ACTIVE: lambda: [({}, 3)]}, scans=_StoppedMeanwhile(metrics))
    data = reader.get_metrics_data()
    assert [
        point.value
        for each in (data.resource_metrics if data else ())
        for metric in each.scope_metrics[0].metrics
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    ] == [3]
    assert caplog.text == ""
