"""Exporters of this package, as tests of them make them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AttributeValue

from otel_tcplife.export.otlp.config import OtlpConfig, Signal
from otel_tcplife.export.otlp.files import FileTransport, OtlpFiles
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.logs import OtlpLogExporter
from otel_tcplife.export.otlp.metrics import OtlpMetricExporter
from otel_tcplife.export.otlp.sender import Sender, SendLimits
from otel_tcplife.export.otlp.transport import Transport, open_transport
from otel_tcplife.export.resource import Resources
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.self_telemetry import ExporterStats

REQUEST_BYTES = 1_000_000


def sender(
    transport: Transport,
    signal: Signal = "logs",
    deadline: Deadline | None = None,
    *,
    timeout: float = 120.0,
    most_bytes: int = REQUEST_BYTES,
) -> Sender:
    """A sender over this transport."""
    return Sender(
        transport,
        signal,
        deadline or Deadline(1e6),
        SendLimits(timeout, most_bytes),
        "there",
        ExporterStats("test", signal),
    )


def log_exporter(
    config: OtlpConfig, deadline: Deadline | None = None, *, most_bytes: int = REQUEST_BYTES
) -> OtlpLogExporter:
    """A sink that sends logs where this configuration says."""
    sending = sender(open_transport(config), "logs", deadline, timeout=config.timeout, most_bytes=most_bytes)
    return OtlpLogExporter(
        "otlp", f"export logs to {config.shown}", LogEncoder(Resources(Resource({}))), sending, config.shown
    )


def metric_exporter(config: OtlpConfig, *, most_bytes: int = REQUEST_BYTES) -> OtlpMetricExporter:
    """What sends metrics where this configuration says."""
    transport = open_transport(config, "metrics")
    return OtlpMetricExporter(sender(transport, "metrics", timeout=config.timeout, most_bytes=most_bytes))


def file_log_exporter(files: OtlpFiles, resource: Mapping[str, AttributeValue] = {}) -> OtlpLogExporter:
    """A sink that writes logs to these files."""
    sending = sender(FileTransport(files.logs, "logs"), timeout=math.inf)
    directory: Path = files.directory
    encoder = LogEncoder(Resources(Resource(resource)))
    return OtlpLogExporter("file", f"write logs to {directory}", encoder, sending, str(directory))


def file_metric_exporter(files: OtlpFiles) -> OtlpMetricExporter:
    """What writes metrics to these files."""
    return OtlpMetricExporter(sender(FileTransport(files.metrics, "metrics"), "metrics", timeout=math.inf))
