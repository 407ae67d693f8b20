"""From the environment to sinks, in one step: all that can be wrong is found out before tracing begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.otlp.config import OtlpConfig, Signal, otlp_config
from otel_tcplife.export.otlp.sinks import Opening, OtlpSinks, Target
from otel_tcplife.export.otlp.transport import open_transport
from otel_tcplife.export.resource import Resources, host_resources
from otel_tcplife.pipeline.chosen_exporters import FILE, NONE, OTLP, ChosenExporters, chosen_exporters
from otel_tcplife.pipeline.selection import selector
from otel_tcplife.pipeline.sink import Sinks

_FILE_KIND = "otlp_json_file"


@dataclass(frozen=True)
class Destination:
    """Somewhere that telemetry goes."""

    description: str
    """For the user, without secrets."""
    open: Callable[[Opening, Sinks], None]
    """Add its sinks. Raise BadUsage where that cannot be."""
    receiver: tuple[Signal, OtlpConfig] | None = None
    """Where an OTLP receiver can be asked whether it takes the signal."""


@dataclass(frozen=True)
class Destinations:
    """Everywhere that telemetry goes."""

    all: tuple[Destination, ...]
    is_disabled: bool
    """Whether nothing goes anywhere because the user has said so for all SDKs."""

    @property
    def description(self) -> str:
        """Where the telemetry goes, for the user."""
        nothing = "no telemetry is exported" + (", as OTEL_SDK_DISABLED is true" if self.is_disabled else "")
        return ", ".join(each.description for each in self.all) or nothing

    @property
    def receivers(self) -> dict[Signal, OtlpConfig]:
        """The OTLP receivers, by signal."""
        return dict(each.receiver for each in self.all if each.receiver)

    def open(self, opening: Opening) -> Sinks:
        """Open all sinks. Raise BadUsage where one cannot be opened, such as a file in a directory of another user."""
        sinks = Sinks(select=selector(opening.logs, opening.host))
        for destination in self.all:
            destination.open(opening, sinks)
        return sinks


def read_destinations(
    otlp_file: str | None, environ: Mapping[str, str] = os.environ, resources: Resources | None = None
) -> Destinations:
    """What the environment and --otlp-file say. Raise BadUsage where something cannot be what was meant.

    Without `resources`, they are those of this host.
    """
    chosen = chosen_exporters(otlp_file, environ)
    resources = resources or host_resources()
    otlp = OtlpSinks(resources, environ)
    found = [*_otlp(chosen, otlp), *_installed(chosen, resources.own)]
    if chosen.agent:
        found.append(Destination("logs and metrics to the OpenTelemetry agent of this process", _open_agent))
    if chosen.directory:
        found.append(_files(chosen, chosen.directory, otlp))
    return Destinations(tuple(found), chosen.is_disabled)


def _otlp(chosen: ChosenExporters, otlp: OtlpSinks) -> Iterator[Destination]:
    if OTLP in chosen.logs:
        config = otlp_config("logs")

        def open_logs(opening: Opening, sinks: Sinks, config: OtlpConfig = config) -> None:
            target = Target(OTLP, _kind(config), open_transport(config), config.shown, config.timeout)
            otlp.add_logs(target, f"export logs to {config.shown}", opening, sinks)

        yield Destination(f"logs to {config.shown}{otlp.also}", open_logs, ("logs", config))
    if OTLP in chosen.metrics:
        config = otlp_config("metrics")

        def open_metrics(opening: Opening, sinks: Sinks, config: OtlpConfig = config) -> None:
            target = Target(OTLP, _kind(config), open_transport(config, "metrics"), config.shown, config.timeout)
            otlp.add_metrics(target, opening, sinks)

        yield Destination(f"metrics to {config.shown}", open_metrics, ("metrics", config))


def _kind(config: OtlpConfig) -> str:
    return "otlp_grpc" if config.protocol == "grpc" else "otlp_http"


def _files(chosen: ChosenExporters, directory: str, otlp: OtlpSinks) -> Destination:
    from otel_tcplife.export.otlp.files import MOST_BYTES, FileTransport, OtlpFiles
    from otel_tcplife.export.otlp.line_file import file_limits

    limits = file_limits()

    def open_files(opening: Opening, sinks: Sinks) -> None:
        files = OtlpFiles(directory, limits)
        sinks.reopen.append(files.reopen)
        if chosen.agent or chosen.logs != (NONE,):
            logs = Target(FILE, _FILE_KIND, FileTransport(files.logs, "logs"), directory, most_bytes=MOST_BYTES)
            otlp.add_logs(logs, f"write logs to {directory}", opening, sinks)
        if chosen.agent or chosen.metrics != (NONE,):
            transport = FileTransport(files.metrics, "metrics")
            metrics = Target(FILE, _FILE_KIND, transport, directory, most_bytes=MOST_BYTES)
            otlp.add_metrics(metrics, opening, sinks)

    return Destination(f"OTLP JSON Lines to {directory}{otlp.also}", open_files)


def _installed(chosen: ChosenExporters, resource: Resource) -> Iterator[Destination]:
    """Imported where it is needed only, as are all ways out that few use."""
    names = [name for name in (*chosen.logs, *chosen.metrics) if name not in (OTLP, NONE)]
    if not names:
        return
    from otel_tcplife.export.sdk.exporters import InstalledLogExporter, InstalledMetricExporter

    for name in chosen.logs:
        if name not in (OTLP, NONE):
            logs = InstalledLogExporter(name, resource)

            def open_logs(opening: Opening, sinks: Sinks, logs: InstalledLogExporter = logs) -> None:
                sinks.queued.append(logs.of(opening.host, opening.logs))

            yield Destination(f"logs to the exporter {name}", open_logs)
    for name in chosen.metrics:
        if name not in (OTLP, NONE):
            metrics = InstalledMetricExporter(name, resource)

            def open_metrics(opening: Opening, sinks: Sinks, metrics: InstalledMetricExporter = metrics) -> None:
                metrics.observe(opening.counters, opening.host, opening.scans)
                sinks.inline.append(metrics)

            yield Destination(f"metrics to the exporter {name}", open_metrics)


def _open_agent(opening: Opening, sinks: Sinks) -> None:
    from otel_tcplife.export.sdk.emit import provider_logs
    from otel_tcplife.export.sdk.record import provider_metrics

    metrics = provider_metrics(None)
    metrics.observe(opening.counters, opening.host, opening.scans)
    sinks.inline.append(metrics)
    sinks.queued.append(provider_logs(None, opening.host, opening.logs))
