"""The provider route: sessions through the loggers and meters of OpenTelemetry's API, one record at a time.

For exporters other than OTLP, and for the providers of an agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import repeat

import numpy as np
import numpy.typing as npt
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_tcplife import conventions, forks
from otel_tcplife.attribute import values_of_records
from otel_tcplife.body import body_columns
from otel_tcplife.conventions import ENTITY_ATTRIBUTES, INFO, WARN, attributes_with
from otel_tcplife.export.otlp.endpoint import error_line
from otel_tcplife.export.sdk.logs_api import (
    BatchLogRecordProcessor,
    LoggerProvider,
    LogRecord,
    LogRecordExporter,
    SdkLoggerProvider,
    SeverityNumber,
    get_logger_provider,
)
from otel_tcplife.export.sdk.record import ProviderMetrics
from otel_tcplife.export.sdk.settings import BatchLimits
from otel_tcplife.host import UNKNOWN_HOST, Host
from otel_tcplife.log_options import LogOptions
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.selection import Select
from otel_tcplife.session import SessionBatch
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
    parts = zip(*(column.to_text() for column in body_columns(columns)))
    columns = zip(
        batch["closed_at"].tolist(),
        batch["observed_at"].tolist(),
        conventions.event_name(columns).to_list(),
        columns.error.present.tolist(),
        parts,
        values_of_records(attributes, columns),
        _contexts(batch),
    )
    for closed_at, observed_at, event_name, failed, body, values, context in columns:
        number, text = WARN if failed else INFO
        yield LogRecord(
            timestamp=closed_at or None,
            observed_timestamp=observed_at,
            context=context,
            severity_number=SeverityNumber(number),
            severity_text=text,
            body="".join(body),
            attributes=values,
            event_name=event_name,
        )


def _contexts(batch: SessionBatch) -> Iterable[Context | None]:
    """That of the span in which each session was connected; None where that is not known."""
    if "trace_id" not in (batch.dtype.names or ()):
        return repeat(None, len(batch))
    return map(_context, batch["trace_id"], batch["span_id"], batch["trace_flags"].tolist())


def _context(trace_id: npt.NDArray[np.uint8], span_id: npt.NDArray[np.uint8], flags: int) -> Context | None:
    if not trace_id.any():
        return None
    trace, span = int.from_bytes(trace_id.tobytes(), "big"), int.from_bytes(span_id.tobytes(), "big")
    connected_in = SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(flags))
    return set_span_in_context(NonRecordingSpan(connected_in), Context())


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

    def add_open(self, batch: SessionBatch, *, is_last: bool) -> None:
        """Count what sessions that go on have more than at the last scan."""
        with forks.held_off():
            self._metrics.add_open(batch, is_last=is_last)

    def shutdown(self, deadline: Deadline) -> None:
        """Nothing: the providers are the application's."""


def provider_logs(provider: LoggerProvider | None, host: Host, options: LogOptions) -> ProviderLogs:
    """The route to the logger provider of an application, the global one if none is given."""
    return ProviderLogs(PROVIDERS, provider or get_logger_provider(), host, options)


def batching_provider(exporter: LogRecordExporter, resource: Resource, limits: BatchLimits) -> SdkLoggerProvider:
    """A logger provider that exports in batches, and that nothing but its shutdown() ends."""
    provider = SdkLoggerProvider(resource, shutdown_on_exit=False)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(
            exporter, limits.schedule_delay, limits.max_export_batch_size, limits.export_timeout, limits.max_queue_size
        )
    )
    return provider
