"""The provider route of metrics: sessions through the meters of OpenTelemetry's API."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter_provider
from opentelemetry.util.types import AttributeValue

from otel_tcplife import conventions
from otel_tcplife.attribute import values_of_records
from otel_tcplife.export.metrics.distribution import Grouping
from otel_tcplife.export.metrics.keys import Keys
from otel_tcplife.export.metrics.open_sessions import OpenSessions
from otel_tcplife.host import UNKNOWN_HOST, Host
from otel_tcplife.instruments import ACTIVE, COUNTERS, HISTOGRAMS, SUMS, TRAFFIC_ATTRIBUTES, CounterMetric
from otel_tcplife.pipeline.counters import Totals
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.scan_requests import ScanRequests
from otel_tcplife.session import SessionBatch, ended
from otel_tcplife.session_columns import SessionColumns
from otel_tcplife.version import __version__


class ProviderMetrics:
    """An inline sink: records each session in the histograms of a meter provider, and lets it observe counters.

    A provider can be told of its instruments only once, so that it keeps them while one tracing follows another.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._counters: Mapping[CounterMetric, Totals] = {}
        self._host = UNKNOWN_HOST
        self._process = os.getpid()
        """The process that counts."""
        self._before: dict[CounterMetric, Counter[frozenset[tuple[str, AttributeValue]]]] = {}
        meter = provider.get_meter(conventions.SCOPE, __version__, conventions.SCHEMA_URL)
        self._histograms = [
            (
                meter.create_histogram(
                    metric.name, metric.unit, metric.brief, explicit_bucket_boundaries_advisory=metric.bounds
                ),
                metric,
            )
            for metric in HISTOGRAMS
        ]
        self._sums = [(meter.create_counter(metric.name, metric.unit, metric.brief), metric) for metric in SUMS]
        self._open = OpenSessions()
        self._scans: ScanRequests | None = None
        for counter in COUNTERS:
            self._register(meter, counter)

    def observe(
        self, counters: Mapping[CounterMetric, Totals], host: Host = UNKNOWN_HOST, scans: ScanRequests | None = None
    ) -> None:
        """Record sessions of this host, and observe these counters, from now on; sums go on from where others ended.

        `scans` is where to ask for a scan of the open sessions.
        """
        self._process = os.getpid()
        self._host = host
        self._open = OpenSessions(host)
        self._scans = scans
        self._counters = counters

    def end(self) -> None:
        """Observe the monotonic counters as they now stand."""
        ended = {counter: totals() for counter, totals in self._counters.items() if counter.monotonic}
        self._counters = {}
        for counter, values in ended.items():
            before = self._before.setdefault(counter, Counter())
            before.update({frozenset(attributes.items()): value for attributes, value in values})

    def forget(self) -> None:
        """Observe nothing: this process is a fork of the one that counts."""
        self._process = os.getpid()
        self._counters = {}
        self._before = {}

    def shutdown(self, deadline: Deadline) -> None:
        """Nothing: the provider is another's."""

    def add(self, batch: SessionBatch) -> None:
        """Record each session of the batch."""
        columns = SessionColumns(ended(batch), self._host)
        of_records = {metric.attributes: [*values_of_records(metric.attributes, columns)] for metric in HISTOGRAMS}
        self._add_to_sums(columns)
        for histogram, metric in self._histograms:
            for measurement in metric.measurements:
                values = measurement.values(columns).to_list()
                for value, attributes in zip(values, of_records[metric.attributes]):
                    if value is not None:
                        histogram.record(value, {**attributes, **measurement.attributes})

    def add_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        """Add what sessions that go on have more than at the last scan, and count them."""
        self._open.add(batch, is_last=is_last)
        self._add_to_sums(SessionColumns(batch, self._host))

    def _add_to_sums(self, columns: SessionColumns) -> None:
        """Once for each set of attributes: a call of the SDK costs more than all else that is done for a session."""
        if not len(columns):
            return
        keys = Keys(columns)
        grouping = Grouping(keys.of_records)
        attributes = [*keys.attributes(grouping.rows.tolist(), TRAFFIC_ATTRIBUTES)]
        for counter, metric in self._sums:
            for measurement in metric.measurements:
                totals, have_values = grouping.sums(measurement.values(columns))
                for each, total, has_values in zip(attributes, totals, have_values.tolist()):
                    if has_values:
                        counter.add(total, {**each, **measurement.attributes})

    def _active(self, totals: Totals) -> Sequence[tuple[Mapping[str, AttributeValue], float]]:
        """How many sessions are open, by attributes, whatever container they are of."""
        if self._scans:
            self._scans.wait()
        counts: Counter[frozenset[tuple[str, AttributeValue]]] = Counter()
        for (_, attributes), count in self._open.found(sum(int(count) for _, count in totals())).items():
            counts[attributes] += count
        return [(dict(attributes), count) for attributes, count in counts.items()]

    def _register(self, meter: Meter, counter: CounterMetric) -> None:
        def observations(_: CallbackOptions) -> Iterable[Observation]:
            if os.getpid() != self._process:  # forked otherwise than by Python: locks may be held for ever
                return []
            values = Counter(self._before.get(counter, {}))
            totals = self._counters.get(counter)  # they end while this waits for a scan, at the stop
            if totals:
                now = self._active(totals) if counter is ACTIVE else totals()
                values.update({frozenset(attributes.items()): value for attributes, value in now})
            return [Observation(value, dict(attributes)) for attributes, value in values.items()]

        create = meter.create_observable_counter if counter.monotonic else meter.create_observable_up_down_counter
        create(counter.name, [observations], counter.unit, counter.brief)


_metrics_of: WeakKeyDictionary[MeterProvider, ProviderMetrics] = WeakKeyDictionary()


def provider_metrics(provider: MeterProvider | None) -> ProviderMetrics:
    """The route to the meter provider of an application, the global one if none is given."""
    provider = provider or get_meter_provider()
    if provider not in _metrics_of:
        _metrics_of[provider] = ProviderMetrics(provider)
    return _metrics_of[provider]
