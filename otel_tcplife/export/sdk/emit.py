"""The provider route: sessions through the loggers and meters of OpenTelemetry's API, one record at a time.

For exporters other than OTLP, and for the providers of an agent. Only this file and global_providers.py use the
packages opentelemetry._logs and opentelemetry.sdk._logs, public though underscored (the logs API of Python is not yet
stable).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber, get_logger_provider
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter_provider
from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.resources import Resource

from otel_tcplife import conventions, forks
from otel_tcplife.body import body_columns
from otel_tcplife.conventions import ENTITY_ATTRIBUTES, INFO, WARN, Attribute, attributes_with
from otel_tcplife.export.otlp.endpoint import error_line
from otel_tcplife.export.sdk.settings import BatchLimits
from otel_tcplife.host import UNKNOWN_HOST, Host
from otel_tcplife.instruments import COUNTERS, HISTOGRAMS, CounterMetric
from otel_tcplife.log_options import LogOptions
from otel_tcplife.pipeline.counters import Totals
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.selection import Select
from otel_tcplife.session import SessionBatch, ended
from otel_tcplife.session_columns import SessionColumns
from otel_tcplife.version import __version__

PROVIDERS = "providers"
"""Name of the sink that is the providers of an application."""


_WITHOUT_OPTIONS = LogOptions()


class ProviderLogs:
    """A sink: emits a log record for each session to a logger provider."""

    max_export_batch_size = 512
    """Sessions between two looks at whether it is time to stop."""

    def __init__(
        self,
        name: str,
        provider: LoggerProvider,
        host: Host = UNKNOWN_HOST,
        options: LogOptions = _WITHOUT_OPTIONS,
    ) -> None:
        self.name = name
        self._host = host
        self._options = options
        self.task = f"emit log records to {name}"
        self._failures = FailureLog(self.task)
        self._provider = provider
        self._logger = provider.get_logger(conventions.SCOPE, __version__, conventions.SCHEMA_URL)

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        """Emit each session of the batch; one that a processor of the provider fails on is rejected."""
        if not self._is_enabled():
            return {Outcome.DISABLED: len(batch)}
        emitted = 0
        for record in log_records(batch, self._host, self._options):
            try:
                self._logger.emit(record)
                emitted += 1
            except Exception as error:  # noqa: BLE001 processors are strangers' code, and must not end the thread
                self._failures.failed(error_line(error), "each that fails is counted as rejected")
        return {Outcome.EXPORTED: emitted, Outcome.REJECTED: len(batch) - emitted}

    def shutdown(self, deadline: Deadline) -> None:
        """Nothing: the provider is another's."""

    def _is_enabled(self) -> bool:
        """Whether anybody takes records: an agent may have no logger provider, or one without an exporter."""
        enabled: Callable[[], bool] | None = getattr(self._logger, "enabled", None)  # since SDK 1.45
        if enabled:
            return enabled()
        provider = self._provider if isinstance(self._provider, SdkLoggerProvider) else get_logger_provider()
        return not type(provider).__module__.startswith("opentelemetry._logs")  # the API's own, which take nothing


def log_records(
    batch: SessionBatch, host: Host = UNKNOWN_HOST, options: LogOptions = _WITHOUT_OPTIONS
) -> Iterable[LogRecord]:
    """Each session as a log record of the API."""
    columns = SessionColumns(batch, host, options.log_sample)
    # A provider has one resource, which is not that of what is observed
    attributes = (*attributes_with(options), *ENTITY_ATTRIBUTES)
    names = [attribute.name for attribute in attributes]
    rows = zip(*(attribute.values(columns) for attribute in attributes))
    parts = zip(*(column.to_text() for column in body_columns(columns)))
    columns = zip(
        batch["closed_at"].tolist(),
        batch["observed_at"].tolist(),
        conventions.event_name(columns).to_list(),
        columns.error.present.tolist(),
        parts,
        rows,
    )
    for closed_at, observed_at, event_name, failed, body, values in columns:
        number, text = WARN if failed else INFO
        yield LogRecord(
            timestamp=closed_at or None,
            observed_timestamp=observed_at,
            severity_number=SeverityNumber(number),
            severity_text=text,
            body="".join(body),
            attributes={name: value for name, value in zip(names, values) if value is not None},
            event_name=event_name,
        )


class ProviderMetrics:
    """An inline sink: records each session in the histograms of a meter provider, and lets it observe counters.

    A provider can be told of its instruments only once, so that it keeps them while one tracing follows another.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._counters: Mapping[CounterMetric, Totals] = {}
        self._host = UNKNOWN_HOST
        self._process = os.getpid()
        """The process that counts."""
        self._before: dict[CounterMetric, Counter[frozenset[tuple[str, str]]]] = {}
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
        for counter in COUNTERS:
            self._register(meter, counter)

    def observe(self, counters: Mapping[CounterMetric, Totals], host: Host = UNKNOWN_HOST) -> None:
        """Record sessions of this host, and observe these counters, from now on; sums go on from where others ended."""
        self._process = os.getpid()
        self._host = host
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
        of_records = {metric.attributes: _present(metric.attributes, columns) for metric in HISTOGRAMS}
        for histogram, metric in self._histograms:
            for measurement in metric.measurements:
                values = measurement.values(columns).to_list()
                for value, attributes in zip(values, of_records[metric.attributes]):
                    if value is not None:
                        histogram.record(value, {**attributes, **measurement.attributes})

    def _register(self, meter: Meter, counter: CounterMetric) -> None:
        def observations(_: CallbackOptions) -> Iterable[Observation]:
            if os.getpid() != self._process:  # forked otherwise than by Python: locks may be held for ever
                return []
            values = Counter(self._before.get(counter, {}))
            if counter in self._counters:
                now = self._counters[counter]()
                values.update({frozenset(attributes.items()): value for attributes, value in now})
            return [Observation(value, dict(attributes)) for attributes, value in values.items()]

        create = meter.create_observable_counter if counter.monotonic else meter.create_observable_up_down_counter
        create(counter.name, [observations], counter.unit, counter.brief)


_metrics_of: WeakKeyDictionary[MeterProvider, ProviderMetrics] = WeakKeyDictionary()


def _present(attributes: Sequence[Attribute], columns: SessionColumns) -> list[dict[str, str | int | float | bool]]:
    """Those that are known of each record."""
    names = [attribute.name for attribute in attributes]
    rows = zip(*(attribute.values(columns) for attribute in attributes))
    return [{name: value for name, value in zip(names, row) if value is not None} for row in rows]


class Providers:
    """A sink: hands sessions to both providers of an application, while no other thread of that forks."""

    name = PROVIDERS
    task = "hand sessions to the providers"
    max_export_batch_size = 256

    def __init__(self, logs: ProviderLogs, metrics: ProviderMetrics, select: Select | None = None) -> None:
        """`select` says which sessions become log records; without it, all do."""
        self._logs = logs
        self._metrics = metrics
        self._select = select

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        """Record and emit each session of the batch."""
        with forks.held_off():  # the SDK's locks are none that a child can open
            self._metrics.add(batch)
            selected = self._select(batch) if self._select else batch
            return {**self._logs.export(selected), Outcome.UNSELECTED: len(batch) - len(selected)}

    def shutdown(self, deadline: Deadline) -> None:
        """Nothing: the providers are the application's."""


def provider_logs(provider: LoggerProvider | None, host: Host, options: LogOptions) -> ProviderLogs:
    """The route to the logger provider of an application, the global one if none is given."""
    return ProviderLogs(PROVIDERS, provider or get_logger_provider(), host, options)


def provider_metrics(provider: MeterProvider | None) -> ProviderMetrics:
    """The route to the meter provider of an application, the global one if none is given."""
    provider = provider or get_meter_provider()
    if provider not in _metrics_of:
        _metrics_of[provider] = ProviderMetrics(provider)
    return _metrics_of[provider]


def batching_provider(exporter: LogRecordExporter, resource: Resource, limits: BatchLimits) -> SdkLoggerProvider:
    """A logger provider that exports in batches, and that nothing but its shutdown() ends."""
    provider = SdkLoggerProvider(resource, shutdown_on_exit=False)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(
            exporter, limits.schedule_delay, limits.max_export_batch_size, limits.export_timeout, limits.max_queue_size
        )
    )
    return provider
