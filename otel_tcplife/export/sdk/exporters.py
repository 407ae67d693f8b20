"""Installed exporters of logs and metrics, found by entry point, each behind a provider of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.metrics.reader import export_interval, export_timeout
from otel_tcplife.export.otlp.endpoint import error_line
from otel_tcplife.export.sdk.emit import ProviderLogs, batching_provider
from otel_tcplife.export.sdk.record import ProviderMetrics
from otel_tcplife.export.sdk.settings import batch_limits, check_exemplar_filter, check_providers, check_record_limits
from otel_tcplife.host import Host
from otel_tcplife.log_options import LogOptions
from otel_tcplife.pipeline.deadline import Deadline


class InstalledLogExporter(ProviderLogs):
    """A sink: one of the installed exporters of logs."""

    def __init__(self, name: str, resource: Resource) -> None:
        """Raise BadUsage where there is none of this name, or where it or the SDK cannot take its variables."""
        limits = batch_limits()
        check_record_limits()
        check_providers()
        exporter = _load("opentelemetry_logs_exporter", "OTEL_LOGS_EXPORTER", name)
        with _set_up("OTEL_LOGS_EXPORTER", name):
            provider = batching_provider(exporter, resource, limits)
        self._flush_and_end: Callable[[], None] = provider.shutdown
        super().__init__(name, provider)

    def of(self, host: Host, options: LogOptions) -> InstalledLogExporter:
        """The same, of sessions of this host and with these options."""
        self._host = host
        self._options = options
        return self

    def shutdown(self, deadline: Deadline) -> None:
        """Flush the exporter, and end it."""
        _within(deadline, self._flush_and_end)


class InstalledMetricExporter(ProviderMetrics):
    """An inline sink: one of the installed exporters of metrics."""

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
            provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        self._flush_and_end: Callable[[], None] = provider.shutdown
        super().__init__(provider)

    def shutdown(self, deadline: Deadline) -> None:
        """Flush the exporter, and end it."""
        _within(deadline, self._flush_and_end)


def _within(deadline: Deadline, shutdown: Callable[[], None]) -> None:
    """Shut a provider down, which may take longer than there is time."""
    thread = threading.Thread(target=shutdown, daemon=True)
    thread.start()
    thread.join(deadline.remaining)


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
