"""Sinks of OTLP: what is common to those that send to a receiver, and those that write files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from otel_tcplife.delivery_options import REQUEST_BYTES, SPOOL, SPOOL_BYTES
from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import metric_preference
from otel_tcplife.export.metrics.reader import PeriodicReader, export_interval
from otel_tcplife.export.otlp.config import Signal
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.logs import OtlpLogExporter
from otel_tcplife.export.otlp.metrics import OtlpMetricExporter
from otel_tcplife.export.otlp.sender import Sender, SendLimits
from otel_tcplife.export.otlp.transport import Transport
from otel_tcplife.export.resource import Resources
from otel_tcplife.host import UNKNOWN_HOST, Host
from otel_tcplife.instruments import CounterMetric
from otel_tcplife.log_options import LogOptions
from otel_tcplife.pipeline.counters import Totals
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.scan_requests import ScanRequests
from otel_tcplife.pipeline.self_telemetry import SelfTelemetry
from otel_tcplife.pipeline.sink import Sinks

if TYPE_CHECKING:
    from otel_tcplife.export.otlp.spool import Spool


@dataclass(frozen=True)
class Opening:
    """What sinks are opened with."""

    counters: Mapping[CounterMetric, Totals]
    """The counters that are exported beside the histograms."""
    deadline: Deadline
    host: Host
    """That of the source."""
    ledger: Ledger
    """For what leaves the spool, which is a queue."""
    itself: SelfTelemetry
    """For what the sinks say of themselves."""
    scans: ScanRequests
    """Where they ask for a scan of the open sessions."""
    logs: LogOptions = field(default_factory=LogOptions)


@dataclass(frozen=True)
class Target:
    """Where a sink sends."""

    name: str
    """That of the sink in the ledger."""
    kind: str
    """How its exporters are called in `otel.component.type`, such as `otlp_http`."""
    transport: Transport
    shown: str
    """For the eyes of the user."""
    timeout: float = math.inf
    """Seconds, for one sending."""
    most_bytes: float = math.inf
    """Bytes of a request that it takes, before compression."""


class OtlpSinks:
    """Makes sinks with the resource and the settings of the environment."""

    def __init__(self, resources: Resources, environ: Mapping[str, str] = os.environ) -> None:
        """Raise BadUsage where a variable cannot be what was meant."""
        self._resources = resources
        self._preference = metric_preference()
        self._interval = export_interval()
        self._most_bytes = REQUEST_BYTES.read(environ)
        self._directory = SPOOL.read(environ)
        self._spool_bytes = SPOOL_BYTES.read(environ)
        self._spool: Spool | None = None

    @property
    def also(self) -> str:
        """What the user is told of the spool behind where telemetry goes."""
        return f" (spool in {self._directory})" if self._directory else ""

    def add_logs(self, target: Target, task: str, opening: Opening, sinks: Sinks) -> None:
        """Add a sink of logs, which does this task. Raise BadUsage where the spool cannot be opened."""
        sender = self._sender(target, "logs", opening)
        encoder = LogEncoder(self._resources, opening.host, opening.logs)
        exporter = OtlpLogExporter(target.name, task, encoder, sender, target.shown)
        if not self._directory:
            sinks.queued.append(exporter)
            return
        from otel_tcplife.export.otlp.spooling import SpoolingLogExporter

        spool = self._opened_spool(self._directory, opening, sinks)
        sinks.queued.append(SpoolingLogExporter(exporter, sender, spool, opening.deadline, opening.ledger.count))

    def add_metrics(self, target: Target, opening: Opening, sinks: Sinks) -> None:
        """Add an inline sink of metrics. Raise BadUsage where the spool cannot be opened."""
        sender = self._sender(target, "metrics", opening)
        host, itself = opening.host, opening.itself
        if self._resources.is_of_application:
            host, itself = replace(host, entity_of=UNKNOWN_HOST.entity_of), None
        aggregator = Aggregator(self._resources, self._preference, opening.counters, host, itself)
        kept = None
        if self._directory:
            from otel_tcplife.export.otlp.kept_metrics import KeptMetrics

            kept = KeptMetrics(self._opened_spool(self._directory, opening, sinks), f"{target.name}_metrics")
        exporter = OtlpMetricExporter(sender, kept)
        reader = PeriodicReader(
            aggregator,
            exporter.export,
            self._interval,
            opening.deadline,
            target=target.shown,
            give_up=exporter.close,
            before=opening.scans.wait,
        )
        sinks.inline.append(reader)

    def _sender(self, target: Target, signal: Signal, opening: Opening) -> Sender:
        limits = SendLimits(target.timeout, int(min(self._most_bytes, target.most_bytes)))
        stats = opening.itself.exporter(f"{target.kind}_{signal.removesuffix('s')}_exporter", signal)
        return Sender(target.transport, signal, opening.deadline, limits, target.shown, stats)

    def _opened_spool(self, directory: str, opening: Opening, sinks: Sinks) -> Spool:
        """The one of all sinks. SQLite is imported only here."""
        from otel_tcplife.export.otlp.spool import Spool

        if self._spool is None:
            self._spool = Spool(directory, self._spool_bytes)
            opening.itself.spool = self._spool
            sinks.close.append(self._spool.close)
        return self._spool
