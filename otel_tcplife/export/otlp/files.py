"""OTLP JSON Lines in a directory: logs.jsonl and metrics.jsonl (file exporter specification), appended to."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, MetricsData

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.line_file import FileLimits, LineFile, file_limits
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.own_files import Unsafe
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.failure_log import FailureLog
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.retry import Backoff
from otel_tcplife.pipeline.sink import NotNow
from otel_tcplife.session import SessionBatch

BACKOFF = Backoff(first=1.0, longest=1.0)
"""Of a disk that is full: it can have room again at any moment."""


class OtlpFiles:
    """Both files of one directory, each written by one thread; every line is complete and flushed."""

    def __init__(self, directory: str, limits: FileLimits | None = None) -> None:
        """Make the directory if need be; without limits, those of the environment hold.

        Raise BadUsage where the directory cannot be written to, or where others could lead us elsewhere from it.
        """
        self.directory = Path(directory)
        limits = limits or file_limits()
        try:
            self.logs = LineFile(self.directory, "logs.jsonl", limits)
            self.metrics = LineFile(self.directory, "metrics.jsonl", limits)
        except OSError as error:
            remedy = error.remedy if isinstance(error, Unsafe) else "give --otlp-file a directory of yours"
            raise BadUsage(f"cannot write to the directory {directory}: {_reason(error)}", remedy) from error

    def reopen(self) -> None:
        """Have each file opened anew before its next line. Any thread may call it."""
        self.logs.reopen()
        self.metrics.reopen()

    def write_metrics(self, data: MetricsData) -> str:
        """A line with all metrics; return why it could not be written, or nothing.

        What is cumulative comes with the next export.
        """
        try:
            self.metrics.append(_line(encode_metrics(data)))
        except OSError as error:
            reason = _reason(error)
            return f"{reason}; the deltas of each interval that fails are lost" if _has_deltas(data) else reason
        return ""


class FileLogExporter:
    """A sink: a line with a log record for each session of a batch."""

    name = "file"
    max_export_batch_size = 512

    def __init__(self, files: OtlpFiles, encoder: LogEncoder) -> None:
        self._file = files.logs
        self._encoder = encoder
        self._failures = FailureLog(f"write logs to {files.directory}")

    def export(self, batch: SessionBatch) -> Mapping[Outcome, int]:
        """Write the line. Raise NotNow where that may do later, as on a full disk; not where no file can hold it."""
        line = _line(ExportLogsServiceRequest.FromString(self._encoder.encode(batch)))
        try:
            self._file.append(line)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise NotNow(_reason(error)) from error
            self._failures.failed(_reason(error), "what is lost is counted in tcplife.export.records")
            return {Outcome.REJECTED: len(batch)}
        self._failures.recovered()
        return {Outcome.EXPORTED: len(batch)}

    def shutdown(self, deadline: Deadline) -> None:
        """Every line is written already."""
        del deadline


def _has_deltas(data: MetricsData) -> bool:
    return any(
        not isinstance(metric.data, Gauge) and metric.data.aggregation_temporality is AggregationTemporality.DELTA
        for resource_metrics in data.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
    )


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _line(message: Message) -> bytes:
    """OTLP's JSON: as protobuf's, with enums as numbers."""
    content = MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
