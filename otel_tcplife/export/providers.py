"""The provider route: sessions through the loggers and meters of OpenTelemetry's API, one record at a time.

For exporters other than OTLP, and for the providers of an agent. The only file that uses the packages
opentelemetry._logs and opentelemetry.sdk._logs, public though underscored (the logs API of Python is not yet stable).
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber, get_logger_provider
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter_provider
from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from otel_tcplife import conventions
from otel_tcplife.conventions import (
    ATTRIBUTES,
    COUNTERS,
    HISTOGRAMS,
    INFO,
    METRIC_ATTRIBUTES,
    WARN,
    CounterMetric,
    Facts,
)
from otel_tcplife.counts import Totals
from otel_tcplife.errors import BadUsage
from otel_tcplife.export.endpoint import error_line
from otel_tcplife.export.metric_export import export_interval, export_timeout
from otel_tcplife.export.sdk_settings import batch_limits, check_exemplar_filter, check_providers, check_record_limits
from otel_tcplife.ledger import Ledger, Outcome
from otel_tcplife.say import Say, Trouble
from otel_tcplife.session import SessionBatch, ended
from otel_tcplife.version import __version__
from otel_tcplife.worker import Stop

PROVIDERS = "providers"
"""Name of the way out through the providers of an application."""


class ProviderLogs:
    """Emits a log record for each session to a logger provider."""

    def __init__(self, name: str, provider: LoggerProvider, ledger: Ledger, say: Say) -> None:
        self._name = name
        self._trouble = Trouble(say, f"emit log records to {name}")
        self._provider = provider
        self._logger = provider.get_logger(conventions.SCOPE, __version__)
        self._ledger = ledger

    def __call__(self, batch: SessionBatch) -> None:
        """Emit each session of the batch; one that a processor of the provider fails on is rejected."""
        if not self._is_enabled():
            self._ledger.count(self._name, Outcome.DISABLED, len(batch))
            return
        emitted = 0
        for record in log_records(batch):
            try:
                self._logger.emit(record)
                emitted += 1
            except Exception as error:  # noqa: BLE001 processors are strangers' code, and must not end the thread
                self._trouble.began(error_line(error), "each that fails is counted as rejected")
        self._ledger.count(self._name, Outcome.EXPORTED, emitted)
        if emitted < len(batch):
            self._ledger.count(self._name, Outcome.REJECTED, len(batch) - emitted)

    def _is_enabled(self) -> bool:
        """Whether anybody takes records: an agent may have no logger provider, or one without an exporter."""
        enabled: Callable[[], bool] | None = getattr(self._logger, "enabled", None)  # since SDK 1.45
        if enabled:
            return enabled()
        provider = self._provider if isinstance(self._provider, SdkLoggerProvider) else get_logger_provider()
        return not type(provider).__module__.startswith("opentelemetry._logs")  # the API's own, which take nothing


def log_records(batch: SessionBatch) -> Iterable[LogRecord]:
    """Each session as a log record of the API."""
    facts = Facts(batch)
    names = [attribute.name for attribute in ATTRIBUTES]
    rows = zip(*(attribute.values(facts) for attribute in ATTRIBUTES))
    parts = zip(*(column.to_text() for column in conventions.body(facts)))
    columns = zip(
        batch["closed_at"].tolist(),
        batch["observed_at"].tolist(),
        conventions.event_name(facts).to_list(),
        facts.error.present.tolist(),
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
    """Records each session in the histograms of a meter provider, and lets it observe counters.

    A provider can be told of its instruments only once, so that it keeps them while one tracing follows another.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._counters: Mapping[CounterMetric, Totals] = {}
        self._process = os.getpid()
        """The process that counts."""
        self._before: dict[CounterMetric, Counter[frozenset[tuple[str, str]]]] = {}
        meter = provider.get_meter(conventions.SCOPE, __version__)
        self._histograms = [
            (
                meter.create_histogram(
                    metric.name, metric.unit, metric.brief, explicit_bucket_boundaries_advisory=metric.bounds
                ),
                metric.measurements,
            )
            for metric in HISTOGRAMS
        ]
        for counter in COUNTERS:
            self._register(meter, counter)

    def observe(self, counters: Mapping[CounterMetric, Totals]) -> None:
        """Observe these counters from now on; monotonic ones go on from where others have ended."""
        self._process = os.getpid()
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

    def __call__(self, batch: SessionBatch) -> None:
        """Record each session of the batch."""
        facts = Facts(ended(batch))
        names = [attribute.name for attribute in METRIC_ATTRIBUTES]
        rows = zip(*(attribute.values(facts) for attribute in METRIC_ATTRIBUTES))
        shared = [{name: value for name, value in zip(names, row) if value is not None} for row in rows]
        for histogram, measurements in self._histograms:
            for measurement in measurements:
                for value, attributes in zip(measurement.values(facts).to_list(), shared):
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


def has_global_providers() -> bool:
    """Whether somebody has set up a global provider of logs or of metrics."""
    return isinstance(get_logger_provider(), SdkLoggerProvider) or isinstance(get_meter_provider(), SdkMeterProvider)


def provider_logs(provider: LoggerProvider | None, ledger: Ledger, say: Say) -> ProviderLogs:
    """The route to the logger provider of an application, the global one if none is given."""
    return ProviderLogs(PROVIDERS, provider or get_logger_provider(), ledger, say)


def provider_metrics(provider: MeterProvider | None) -> ProviderMetrics:
    """The route to the meter provider of an application, the global one if none is given."""
    provider = provider or get_meter_provider()
    if provider not in _metrics_of:
        _metrics_of[provider] = ProviderMetrics(provider)
    return _metrics_of[provider]


class ExporterLogs:
    """One of the installed exporters of logs, behind a provider of its own."""

    def __init__(self, name: str, resource: Resource) -> None:
        """Raise BadUsage where there is none of this name, or where it or the SDK cannot take its variables."""
        self.name = name
        limits = batch_limits()
        check_record_limits()
        check_providers()
        exporter = _load("opentelemetry_logs_exporter", "OTEL_LOGS_EXPORTER", name)
        with _set_up("OTEL_LOGS_EXPORTER", name):
            self._provider = SdkLoggerProvider(resource, shutdown_on_exit=False)
            processor = BatchLogRecordProcessor(
                exporter,
                limits.schedule_delay,
                limits.max_export_batch_size,
                limits.export_timeout,
                limits.max_queue_size,
            )
            self._provider.add_log_record_processor(processor)

    def consumer(self, ledger: Ledger, say: Say) -> ProviderLogs:
        """What takes the sessions."""
        return ProviderLogs(self.name, self._provider, ledger, say)

    def finishing(self, stop: Stop) -> Shutdown:
        """What flushes the exporter."""
        return Shutdown(self._provider.shutdown, stop)


class ExporterMetrics:
    """One of the installed exporters of metrics, behind a provider of its own."""

    def __init__(self, name: str, resource: Resource) -> None:
        """Raise BadUsage where there is none of this name, or where it or the SDK cannot take its variables."""
        self.name = name
        interval, timeout = 1000 * export_interval(), 1000 * export_timeout()
        check_exemplar_filter()
        check_providers()
        exporter = _load("opentelemetry_metrics_exporter", "OTEL_METRICS_EXPORTER", name)
        with _set_up("OTEL_METRICS_EXPORTER", name):
            # An exporter that is pulled, such as prometheus, is itself a reader
            is_pushed = isinstance(exporter, MetricExporter)
            reader = PeriodicExportingMetricReader(exporter, interval, timeout) if is_pushed else exporter
            self._provider = SdkMeterProvider([reader], resource, shutdown_on_exit=False)

    def consumer(self, totals: Mapping[CounterMetric, Totals]) -> ProviderMetrics:
        """What takes the sessions."""
        metrics = ProviderMetrics(self._provider)
        metrics.observe(totals)
        return metrics

    def finishing(self, stop: Stop) -> Shutdown:
        """What flushes the exporter."""
        return Shutdown(self._provider.shutdown, stop)


class Shutdown:
    """The shutdown of a provider, which may take longer than there is time."""

    def __init__(self, shutdown: Callable[[], None], stop: Stop) -> None:
        self._shutdown = shutdown
        self._stop = stop

    def finish(self) -> None:
        """Flush and end, within what the stop has left."""
        thread = threading.Thread(target=self._shutdown, daemon=True)
        thread.start()
        thread.join(self._stop.left)


def _load(group: str, variable: str, name: str) -> Any:
    found = list(entry_points(group=group, name=name))
    if not found:
        installed = sorted({entry.name for entry in entry_points(group=group)} | {"otlp", "none"})
        raise BadUsage(f"{variable}: there is no exporter {name!r}", f"use one of {', '.join(installed)}")
    with _set_up(variable, name):
        return found[0].load()()


@contextmanager
def _set_up(variable: str, name: str) -> Generator[None]:
    """Exporters and the SDK read variables of their own, and fail in ways of their own."""
    try:
        yield
    except Exception as error:
        problem = f"{variable}: the exporter {name!r} cannot be set up: {error_line(error)}"
        raise BadUsage(problem, "mend the variable that it has that from, or leave the exporter out") from error
