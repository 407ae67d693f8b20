"""Metrics straight from the columns: each batch is added to the histograms in a handful of NumPy operations."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from itertools import chain

import numpy as np
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import AttributeValue

from otel_tcplife import conventions
from otel_tcplife.columns import factorize
from otel_tcplife.conventions import (
    CARDINALITY_LIMIT,
    HISTOGRAMS,
    METRIC_ATTRIBUTES,
    OVERFLOW,
    CounterMetric,
)
from otel_tcplife.export.metrics.histograms import ExplicitBuckets, ExponentialBuckets, Grouping, Rows
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.host import UNKNOWN_HOST, Host
from otel_tcplife.pipeline.counters import Totals
from otel_tcplife.session import SessionBatch, concatenated, ended
from otel_tcplife.session_columns import SessionColumns
from otel_tcplife.version import __version__

_KEY = np.dtype(
    [
        ("executable", "S64"),
        ("server_port", np.uint16),
        ("error", np.int16),
        ("ip_version", np.uint8),
        ("role", np.uint8),
        ("reserved", np.uint16),
    ]
)
"""What METRIC_ATTRIBUTES are made of: records with the same key belong to the same series."""

_KNOWN_KEYS = 4 * CARDINALITY_LIMIT
"""How many keys are remembered: several can have the same attributes, such as names of bytes that are no text."""

_COUNTED_TOGETHER = 4096
"""Counting fewer costs nearly as much."""


class Aggregator:
    """Histograms of all sessions added, and the counters beside them. Threads may add and collect at once."""

    def __init__(
        self,
        resource: Resource,
        preference: Preference,
        counters: Mapping[CounterMetric, Totals],
        host: Host = UNKNOWN_HOST,
    ) -> None:
        self._resource = resource
        self._preference = preference
        self._counters = counters
        self._host = host
        self._lock = threading.Lock()
        self._pending: list[SessionBatch] = []
        self._counted: dict[CounterMetric, dict[frozenset[tuple[str, AttributeValue]], int]] = {}
        self._started = self._collected = time.time_ns()
        self._reset()

    def _reset(self) -> None:
        buckets = ExponentialBuckets if self._preference.exponential else ExplicitBuckets
        self._buckets = [
            [(measurement, buckets(CARDINALITY_LIMIT, metric.bounds)) for measurement in metric.measurements]
            for metric in HISTOGRAMS
        ]
        self._rows: dict[bytes, int] = {}
        self._rows_of_attributes: dict[frozenset[tuple[str, AttributeValue]], int] = {}
        self._attributes: list[dict[str, AttributeValue]] = []

    def add(self, batch: SessionBatch) -> None:
        """Count each session of the batch, when there are some thousands to be counted together, or in collect()."""
        with self._lock:
            self._pending.append(ended(batch))
            if sum(map(len, self._pending)) >= _COUNTED_TOGETHER:
                self._count()

    def _count(self) -> None:
        batch = concatenated(self._pending)
        self._pending.clear()
        if len(batch):
            columns = SessionColumns(batch, self._host)
            grouping = Grouping(self._series(columns))
            for measurement, buckets in chain.from_iterable(self._buckets):
                buckets.add(grouping, measurement.values(columns))

    def collect(self) -> MetricsData:
        """All metrics as they stand now, or what was added since the last call where delta is preferred."""
        now = time.time_ns()
        with self._lock:
            self._count()
            metrics = [*self._histograms(now), *(self._counter(counter, now) for counter in self._counters)]
            metrics = [metric for metric in metrics if metric.data.data_points]
            if self._preference.delta_histograms:
                self._reset()
            self._collected = now
        scope = InstrumentationScope(conventions.SCOPE, __version__)
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(scope, metrics, "")], "")])

    def _series(self, columns: SessionColumns) -> Rows:
        """The row of each record."""
        keys = np.zeros(len(columns), _KEY)
        for column in ("executable", "ip_version", "role"):
            keys[column] = columns.batch[column]
        keys["server_port"] = np.where(columns.server_port.present, columns.server_port.values, 0)
        keys["error"] = columns.error_number
        first, codes = factorize(keys.view(f"V{_KEY.itemsize}"))
        return np.array([self._row(keys[at].tobytes(), columns.batch[at : at + 1]) for at in first], np.intp)[codes]

    def _row(self, key: bytes, example: SessionBatch) -> int:
        """The row of this key, or the last one where there are as many as may be."""
        row = self._rows.get(key)
        if row is None:
            if len(self._attributes) == CARDINALITY_LIMIT:
                return CARDINALITY_LIMIT - 1
            row = self._row_of(_attributes(example, self._host))
            if len(self._rows) < _KNOWN_KEYS:
                self._rows[key] = row
        return row

    def _row_of(self, attributes: dict[str, AttributeValue]) -> int:
        """The row of these attributes, a new one if need be."""
        row = self._rows_of_attributes.setdefault(frozenset(attributes.items()), len(self._attributes))
        if row == len(self._attributes):
            self._attributes.append(attributes if row < CARDINALITY_LIMIT - 1 else {**OVERFLOW})
        return row

    def _histograms(self, now: int) -> list[Metric]:
        delta = self._preference.delta_histograms
        temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
        start = self._collected if delta else self._started
        metrics: list[Metric] = []
        for metric, filled in zip(HISTOGRAMS, self._buckets):
            points = [
                point
                for measurement, buckets in filled
                for point in buckets.points(
                    [{**attributes, **measurement.attributes} for attributes in self._attributes], start, now
                )
            ]
            data = filled[0][1].data(points, temporality)
            metrics.append(Metric(metric.name, metric.brief, metric.unit, data))
        return metrics

    def _counter(self, counter: CounterMetric, now: int) -> Metric:
        delta = self._preference.delta_counters and counter.monotonic
        before = self._counted.setdefault(counter, {})
        points: list[NumberDataPoint] = []
        for attributes, total in self._counters[counter]():
            key = frozenset(attributes.items())
            value = total - before.get(key, 0) if delta else total
            start = self._collected if delta else self._started
            points.append(NumberDataPoint(attributes, start, now, value))
            before[key] = total
        temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
        data = Sum(points, temporality, is_monotonic=counter.monotonic)
        return Metric(counter.name, counter.brief, counter.unit, data)


def _attributes(example: SessionBatch, host: Host) -> dict[str, AttributeValue]:
    columns = SessionColumns(example, host)
    values = {attribute.name: attribute.values(columns)[0] for attribute in METRIC_ATTRIBUTES}
    return {name: value for name, value in values.items() if value is not None}
