"""OTLP JSON Lines in a directory: logs.jsonl and metrics.jsonl (file exporter specification), appended to."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, MetricsData

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.line_file import FileLimits, LineFile, file_limits
from otel_tcplife.export.log_encoder import LogEncoder
from otel_tcplife.export.own_files import Unsafe
from otel_tcplife.ledger import Ledger, Outcome
from otel_tcplife.say import Say, Trouble
from otel_tcplife.session import SessionBatch
from otel_tcplife.worker import Stop

_WAIT, _LAST_WAIT = 1.0, 0.5
"""Seconds before a line is tried again; the latter once a stop is asked, when there is only little time left."""


class OtlpFiles:
    """Both files of one directory, each written by one thread; every line is complete and flushed."""

    def __init__(
        self, directory: str, encoder: LogEncoder, ledger: Ledger, say: Say, limits: FileLimits | None = None
    ) -> None:
        """Make the directory if need be; without limits, those of the environment hold.

        Raise BadUsage where the directory cannot be written to, or where others could lead us elsewhere from it.
        """
        self.directory = Path(directory)
        self._encoder = encoder
        self._ledger = ledger
        self._trouble = Trouble(say, f"write logs to {directory}")
        limits = limits or file_limits()
        try:
            self._logs = LineFile(self.directory, "logs.jsonl", limits, say)
            self._metrics = LineFile(self.directory, "metrics.jsonl", limits, say)
        except OSError as error:
            remedy = error.remedy if isinstance(error, Unsafe) else "give --otlp-file a directory of yours"
            raise BadUsage(f"cannot write to the directory {directory}: {_reason(error)}", remedy) from error

    def reopen(self) -> None:
        """Have each file opened anew before its next line. Any thread may call it."""
        self._logs.reopen()
        self._metrics.reopen()

    def write_logs(self, batch: SessionBatch, stop: Stop) -> None:
        """A line with a log record for each session: tried until it is written, or until all must have ended.

        A full disk can have room again; only a line that no file can hold is given up.
        """
        line = _line(ExportLogsServiceRequest.FromString(self._encoder.encode(batch)))
        while True:
            try:
                self._logs.append(line)
            except OSError as error:
                if error.errno == errno.EFBIG:
                    self._trouble.began(_reason(error), "what is lost is counted in tcplife.export.records")
                    self._ledger.count("file", Outcome.REJECTED, len(batch))
                    return
                self._trouble.began(
                    _reason(error), "trying again; sessions that find no room to wait are counted as dropped"
                )
            else:
                self._trouble.over()
                self._ledger.count("file", Outcome.EXPORTED, len(batch))
                return
            if not stop.left:
                return
            if stop.wait(_WAIT):
                time.sleep(min(_LAST_WAIT, stop.left))

    def write_metrics(self, data: MetricsData) -> str:
        """A line with all metrics; return why it could not be written, or nothing.

        What is cumulative comes with the next export.
        """
        try:
            self._metrics.append(_line(encode_metrics(data)))
        except OSError as error:
            reason = _reason(error)
            return f"{reason}; the deltas of each interval that fails are lost" if _has_deltas(data) else reason
        return ""


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
