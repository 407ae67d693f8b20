"""From destinations to consumers: all that can be wrong is found out before tracing begins, then the threads start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource

from otel_tcplife.agent import Consumers, Guarded
from otel_tcplife.counts import counters
from otel_tcplife.destinations import Destinations
from otel_tcplife.export.aggregator import Aggregator
from otel_tcplife.export.delivery import RECORDS_IN_REQUEST, Delivery
from otel_tcplife.export.log_encoder import LogEncoder
from otel_tcplife.export.metric_export import Export, MetricExport, export_interval, through_exporter
from otel_tcplife.export.otlp_config import OtlpConfig, otlp_config
from otel_tcplife.export.otlp_metrics import otlp_metric_exporter
from otel_tcplife.export.preference import Preference, metric_preference
from otel_tcplife.export.resource import host_resource
from otel_tcplife.export.transport import open_transport
from otel_tcplife.ledger import Ledger
from otel_tcplife.say import Say
from otel_tcplife.source import Source
from otel_tcplife.version import __version__
from otel_tcplife.worker import Consume, Stop, Worker

if TYPE_CHECKING:
    from otel_tcplife.export.otlp_file import OtlpFiles
    from otel_tcplife.export.providers import ExporterLogs, ExporterMetrics

LINGER = 1.0
"""Seconds that a session waits for others to be exported with it."""

_RECORDS_AT_ONCE = 512
"""Of the slower ways out: a line of a file, what a provider gets between two looks at whether it is time to stop."""

USER_AGENT = f"otel-tcplife/{__version__}"

OTLP = "otlp"
NONE = "none"


@dataclass(frozen=True)
class Settings:
    """The whole configuration of the exports, checked."""

    resource: Resource
    encoder: LogEncoder
    logs: OtlpConfig | None
    metrics: OtlpConfig | None
    preference: Preference
    interval: float
    other_logs: tuple[ExporterLogs, ...]
    other_metrics: tuple[ExporterMetrics, ...]


def read_settings(chosen: Destinations) -> Settings:
    """Read the environment for the chosen destinations. Raise BadUsage where something cannot be what was meant."""
    resource = host_resource()
    return Settings(
        resource=resource,
        encoder=LogEncoder(resource.attributes),
        logs=otlp_config("logs") if OTLP in chosen.logs else None,
        metrics=otlp_config("metrics") if OTLP in chosen.metrics else None,
        preference=metric_preference(),
        interval=export_interval(),
        other_logs=tuple(_exporter_logs(name, resource) for name in _others(chosen.logs)),
        other_metrics=tuple(_exporter_metrics(name, resource) for name in _others(chosen.metrics)),
    )


def describe(settings: Settings, chosen: Destinations) -> str:
    """Where the telemetry goes, for the eyes of the user."""
    configs = {"logs": settings.logs, "metrics": settings.metrics}
    ways = [f"{signal} to {config.shown}" for signal, config in configs.items() if config]
    ways += [f"logs to the exporter {exporter.name}" for exporter in settings.other_logs]
    ways += [f"metrics to the exporter {exporter.name}" for exporter in settings.other_metrics]
    if chosen.agent:
        ways.append("logs and metrics to the OpenTelemetry agent of this process")
    if chosen.directory:
        ways.append(f"OTLP JSON Lines to {chosen.directory}")
    nothing = "no telemetry is exported" + (", as OTEL_SDK_DISABLED is true" if chosen.disabled else "")
    return ", ".join(ways) or nothing


def wire(
    settings: Settings,
    files: OtlpFiles | None,
    chosen: Destinations,
    *,
    source: Source,
    ledger: Ledger,
    stop: Stop,
    say: Say,
) -> Consumers:
    """Start a worker for each way out of the logs, and an exporting thread for each of the metrics."""
    consumers = Consumers()
    totals = counters(source.outcomes, source.active, ledger)

    def logs(name: str, consume: Consume, most: int) -> None:
        consumers.workers.append(Worker(name, consume, ledger, stop, say, most=most, linger=LINGER))

    def metrics(export: Export, target: str, give_up: Callable[[], None]) -> None:
        aggregator = Aggregator(settings.resource, settings.preference, totals)
        consumers.inline.append(Guarded(aggregator.add, say, f"count sessions in the metrics for {target}"))
        consumers.exporting.append(
            MetricExport(aggregator.collect, export, settings.interval, stop, say, target=target, give_up=give_up)
        )

    if config := settings.logs:
        transport = open_transport(config, USER_AGENT)
        logs(OTLP, Delivery(OTLP, settings.encoder, transport, config, ledger, stop, say), RECORDS_IN_REQUEST)
    if config := settings.metrics:
        otlp = otlp_metric_exporter(config)
        metrics(through_exporter(otlp, config.hide), config.shown, lambda: otlp.shutdown())
    if files and (chosen.agent or chosen.logs != (NONE,)):
        logs("file", lambda batch: files.write_logs(batch, stop), _RECORDS_AT_ONCE)
    if files and (chosen.agent or chosen.metrics != (NONE,)):
        metrics(files.write_metrics, str(files.directory), lambda: None)
    if chosen.agent:
        from otel_tcplife.export.providers import PROVIDERS, provider_logs, provider_metrics

        observed = provider_metrics(None)
        observed.observe(totals)
        consumers.inline.append(Guarded(observed, say, f"count sessions in the metrics for {PROVIDERS}"))
        logs(PROVIDERS, provider_logs(None, ledger, say), _RECORDS_AT_ONCE)
    for exporter in settings.other_logs:
        logs(exporter.name, exporter.consumer(ledger, say), _RECORDS_AT_ONCE)
        consumers.exporting.append(exporter.finishing(stop))
    for exporter in settings.other_metrics:
        consumers.inline.append(
            Guarded(exporter.consumer(totals), say, f"count sessions in the metrics for {exporter.name}")
        )
        consumers.exporting.append(exporter.finishing(stop))
    return consumers


def _others(exporters: tuple[str, ...]) -> list[str]:
    return [name for name in exporters if name not in (OTLP, NONE)]


def _exporter_logs(name: str, resource: Resource) -> ExporterLogs:
    """Imported where it is needed only, as are all ways out that few use."""
    from otel_tcplife.export.providers import ExporterLogs

    return ExporterLogs(name, resource)


def _exporter_metrics(name: str, resource: Resource) -> ExporterMetrics:
    from otel_tcplife.export.providers import ExporterMetrics

    return ExporterMetrics(name, resource)
