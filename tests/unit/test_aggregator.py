"""Our histograms against those that the SDK makes of the same sessions, one record at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricsData
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.resource import Resources
from otel_tcplife.export.sdk.record import ProviderMetrics
from otel_tcplife.instruments import ACTIVE, CARDINALITY_LIMIT, PROBE_SESSIONS
from otel_tcplife.pipeline.counters import counters
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.source import Stats
from otel_tcplife.session import SessionBatch, empty
from tests.support.batches import batches

_PREFERENCES = st.builds(Preference, delta_histograms=st.booleans(), exponential=st.booleans())


def _sdk_reader(preference: Preference) -> InMemoryMetricReader:
    temporality = AggregationTemporality.DELTA if preference.delta_histograms else AggregationTemporality.CUMULATIVE
    aggregation = (
        ExponentialBucketHistogramAggregation() if preference.exponential else ExplicitBucketHistogramAggregation()
    )
    return InMemoryMetricReader({HistogramInstrument: temporality}, {HistogramInstrument: aggregation})


def _histogram_points(data: MetricsData | None) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The data points by metric and attributes, without their times."""
    points: dict[tuple[Any, ...], dict[str, Any]] = {}
    for metric in _metrics(data):
        kind = type(metric.data).__name__
        if kind == "Sum":
            continue
        header = (metric.name, metric.unit, metric.description, kind, metric.data.aggregation_temporality)
        for point in metric.data.data_points:
            fields = {name: getattr(point, name) for name in ("count", "sum", "min", "max")}
            if hasattr(point, "scale"):
                fields |= {"scale": point.scale, "zero_count": point.zero_count}
                counts = point.positive.bucket_counts
                used = np.flatnonzero(counts)
                fields["positive"] = {point.positive.offset + int(at): counts[at] for at in used}
            else:
                fields |= {"buckets": list(point.bucket_counts), "bounds": list(point.explicit_bounds)}
            points[(*header, *sorted(point.attributes.items()))] = fields
    return points


def _metrics(data: MetricsData | None) -> Iterable[Any]:
    for resource_metrics in data.resource_metrics if data else ():
        for scope_metrics in resource_metrics.scope_metrics:
            yield from scope_metrics.metrics


@settings(max_examples=150)
@given(given_batches=st.lists(batches(), min_size=1, max_size=3), preference=_PREFERENCES)
def test_the_same_as_the_sdk_makes(given_batches: list[SessionBatch], preference: Preference) -> None:
    assume(not preference.exponential or not any(map(_all_but_a_power_of_two, given_batches)))
    aggregator = Aggregator(Resources(Resource({})), preference, {})
    reader = _sdk_reader(preference)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    by_the_sdk = ProviderMetrics(provider)
    for batch in given_batches:
        aggregator.add(batch)
        by_the_sdk.add(batch)
        ours, theirs = _histogram_points(aggregator.collect()), _histogram_points(reader.get_metrics_data())
        assert ours.keys() == theirs.keys()
        for key, fields in ours.items():
            if preference.exponential:
                _coarsen(fields, theirs[key]["scale"])
            assert fields.pop("sum") == pytest.approx(theirs[key].pop("sum"), rel=1e-9)
            assert fields == theirs[key], key


def _all_but_a_power_of_two(batch: SessionBatch) -> bool:
    """Whether it has sizes that the SDK's logarithm takes for the power of two that they are just above or below of."""
    sizes = np.concatenate([batch["bytes_sent"], batch["bytes_received"]]).astype(np.float64)
    mantissa = np.frexp(sizes)[0]
    off = np.minimum(np.abs(mantissa - 0.5), np.abs(mantissa - 1.0))
    return bool(((off > 0) & (off < 1e-12)).any())


def _coarsen(fields: dict[str, Any], scale: int) -> None:
    """To the scale of the SDK, which after a point of zeros alone keeps its scale of 0."""
    finer = fields["scale"] - scale
    assert finer >= 0
    positive: dict[int, int] = {}
    for index, count in fields["positive"].items():
        positive[index >> finer] = positive.get(index >> finer, 0) + count
    fields |= {"scale": scale, "positive": positive}


def test_what_has_the_same_attributes_is_one_point() -> None:
    batch = empty(6)
    batch["event"], batch["ip_version"], batch["duration"] = 1, 4, 1_000_000
    batch["executable"] = [b"\xff", b"\xfe", b"a", b"a", b"a", b"a"]
    batch["error"] = [0, 0, 4094, 4095, 0, 104]
    aggregator = Aggregator(Resources(Resource({})), Preference(), {})
    aggregator.add(batch[:3])
    aggregator.collect()
    aggregator.add(batch)
    [duration] = [metric for metric in _metrics(aggregator.collect()) if metric.name == "tcplife.session.duration"]
    points = duration.data.data_points
    counts = {
        (point.attributes["process.executable.name"], point.attributes.get("error.type")): point.count
        for point in points
    }
    assert counts == {("\ufffd", None): 4, ("a", "_OTHER"): 3, ("a", None): 1, ("a", "ECONNRESET"): 1}
    assert len(points) == len(counts)


def test_past_the_limit_all_goes_to_one_overflow_series() -> None:
    batch = empty(CARDINALITY_LIMIT + 500)
    batch["event"], batch["ip_version"], batch["duration"] = 1, 4, 1_000_000
    batch["executable"] = [f"program-{row}".encode() for row in range(len(batch))]
    aggregator = Aggregator(Resources(Resource({})), Preference(), {})
    aggregator.add(batch[:100])
    aggregator.collect()
    aggregator.add(batch)
    [duration] = [metric for metric in _metrics(aggregator.collect()) if metric.name == "tcplife.session.duration"]
    counts = {tuple(point.attributes.items()): point.count for point in duration.data.data_points}
    assert len(counts) == CARDINALITY_LIMIT
    assert counts.pop((("otel.metric.overflow", True),)) == 501
    assert sorted(counts.values()) == [1] * (CARDINALITY_LIMIT - 101) + [2] * 100


@pytest.mark.parametrize(("delta", "totals"), [(False, [3, 10]), (True, [3, 7])])
def test_counters_keep_or_give_up_what_was_exported(delta: bool, totals: list[int]) -> None:
    stats = [Stats({"submitted": 3}, seen=3, active=5), Stats({"submitted": 10}, seen=10, active=4)]
    values = counters(lambda: stats[0], Ledger())
    aggregator = Aggregator(Resources(Resource({})), Preference(delta_counters=delta), values)
    starts: list[int] = []
    for total, open_now in zip(totals, [5, 4]):
        metrics = {metric.name: metric.data for metric in _metrics(aggregator.collect())}
        [point] = metrics[PROBE_SESSIONS.name].data_points
        assert (point.value, dict(point.attributes)) == (total, {"tcplife.outcome": "submitted"})
        assert metrics[PROBE_SESSIONS.name].is_monotonic
        starts.append(point.start_time_unix_nano)
        [point] = metrics[ACTIVE.name].data_points
        assert point.value == open_now
        assert metrics[ACTIVE.name].aggregation_temporality is AggregationTemporality.CUMULATIVE
        assert not metrics[ACTIVE.name].is_monotonic
        stats.pop(0)
    assert (starts[1] > starts[0]) == delta


@settings(max_examples=60)
@given(
    given_batches=st.lists(batches(), min_size=2, max_size=5),
    exponential=st.booleans(),
)
def test_deltas_that_were_put_back_are_as_if_never_collected(
    given_batches: list[SessionBatch], exponential: bool
) -> None:
    """The sum of what was delivered is what one collecting at the end would have had."""
    preference = Preference(delta_histograms=True, exponential=exponential)
    undisturbed, disturbed = (Aggregator(Resources(Resource({})), preference, {}) for _ in range(2))
    for number, batch in enumerate(given_batches):
        disturbed.add(batch)
        undisturbed.add(batch)
        if number == len(given_batches) - 1:
            break
        data = disturbed.collect()
        points = sum(len(metric.data.data_points) for metric in _metrics(data))
        disturbed.put_back(range(points))
    whole, parts = _histogram_points(undisturbed.collect()), _histogram_points(disturbed.collect())
    assert whole.keys() == parts.keys()
    for key, fields in parts.items():
        assert fields.pop("sum") == pytest.approx(whole[key].pop("sum"), rel=1e-9)
        assert fields == whole[key], key


def test_each_metric_keeps_to_the_limit_with_one_overflow_set() -> None:
    """Also session.io, which has a data point for each direction of a series."""
    batch = empty(CARDINALITY_LIMIT + 500)
    batch["event"], batch["ip_version"], batch["duration"] = 1, 4, 1_000_000
    batch["bytes_sent"], batch["bytes_received"] = 3, 5
    batch["executable"] = [f"program-{row}".encode() for row in range(len(batch))]
    aggregator = Aggregator(Resources(Resource({})), Preference(delta_histograms=True), {})
    aggregator.add(batch)
    for _ in range(2):
        data = aggregator.collect()
        [io] = [metric for metric in _metrics(data) if metric.name == "tcplife.session.io"]
        points = {tuple(sorted(point.attributes.items())): point for point in io.data.data_points}
        assert len(points) == len(io.data.data_points) <= CARDINALITY_LIMIT
        overflow = points.pop((("otel.metric.overflow", True),))
        over = len(batch) - len(points) // 2
        assert (overflow.count, overflow.sum) == (2 * over, 8 * over)
        assert {point.count for point in points.values()} == {1}
        aggregator.put_back(range(sum(len(metric.data.data_points) for metric in _metrics(data))))


def test_a_delta_that_was_put_back_begins_when_it_began() -> None:
    aggregator = Aggregator(Resources(Resource({})), Preference(delta_histograms=True, delta_counters=True), {})
    batch = empty(1)
    batch["event"], batch["duration"] = 1, 1_000_000
    starts: list[int] = []
    for put_back in ([], [0], [0], []):
        aggregator.add(batch)
        [duration] = _metrics(aggregator.collect())
        [point] = duration.data.data_points
        starts.append(point.start_time_unix_nano)
        aggregator.put_back(put_back)
    assert starts[1] == starts[2] == starts[3] > starts[0]


def test_counters_of_deltas_that_were_put_back_come_again() -> None:
    stats = Stats({"submitted": 3}, seen=3)
    values = counters(lambda: stats, Ledger())
    aggregator = Aggregator(Resources(Resource({})), Preference(delta_counters=True), values)
    seen: list[tuple[int, int]] = []
    for total, fails in ((3, True), (5, True), (9, False), (10, False)):
        stats = Stats({"submitted": total}, seen=total)
        metrics = list(_metrics(aggregator.collect()))
        positions = [(metric.name, point) for metric in metrics for point in metric.data.data_points]
        [(position, point)] = [(at, point) for at, (name, point) in enumerate(positions) if name == PROBE_SESSIONS.name]
        seen.append((point.value, point.start_time_unix_nano))
        aggregator.put_back([position] if fails else [])
    assert [value for value, _ in seen] == [3, 5, 9, 1]
    assert seen[0][1] == seen[1][1] == seen[2][1] < seen[3][1]


def test_the_error_of_a_handshake_is_that_of_a_connect_that_failed() -> None:
    """A session that ended with the same error was a handshake that came about."""
    batch = empty(4)
    batch["event"], batch["ip_version"], batch["handshake"] = [1, 1, 2, 2], 4, 1000
    batch["duration"][:2], batch["error"] = 1_000_000, [0, 104, 104, 0]
    aggregator = Aggregator(Resources(Resource({})), Preference(), {})
    reader = _sdk_reader(Preference())
    provider = MeterProvider([reader], shutdown_on_exit=False)
    aggregator.add(batch)
    ProviderMetrics(provider).add(batch)
    counts: list[dict[tuple[str, Any], int]] = []
    for data in (aggregator.collect(), reader.get_metrics_data()):
        points = {metric.name: metric.data.data_points for metric in _metrics(data)}
        counts.append(
            {
                (name, point.attributes.get("error.type")): point.count
                for name in ("tcplife.handshake.duration", "tcplife.session.duration")
                for point in points[name]
            }
        )
    assert counts[0] == counts[1]
    assert counts[0] == {
        ("tcplife.handshake.duration", None): 2,
        ("tcplife.handshake.duration", "ECONNRESET"): 1,
        ("tcplife.handshake.duration", "_OTHER"): 1,
        ("tcplife.session.duration", None): 1,
        ("tcplife.session.duration", "ECONNRESET"): 1,
    }
