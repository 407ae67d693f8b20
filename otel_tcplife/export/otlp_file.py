"""OTLP JSON Lines in a directory: logs.jsonl and metrics.jsonl (file exporter specification), appended to."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.metrics.export import MetricsData

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.log_encoder import LogEncoder
from otel_tcplife.ledger import Ledger, Outcome
from otel_tcplife.say import Say, Trouble
from otel_tcplife.session import SessionBatch


class OtlpFiles:
    """Both files of one directory, each written by one thread; every line is complete and flushed."""

    def __init__(self, directory: str, encoder: LogEncoder, ledger: Ledger, say: Say) -> None:
        """Make the directory if need be. Raise BadUsage where it cannot be written to."""
        self.directory = Path(directory)
        self._encoder = encoder
        self._ledger = ledger
        self._trouble = Trouble(say, f"write logs to {directory}")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._logs = _open(self.directory / "logs.jsonl")
            self._metrics = _open(self.directory / "metrics.jsonl")
        except OSError as error:
            raise BadUsage(
                f"cannot write to the directory {directory}: {error.strerror}", "give --otlp-file a directory of yours"
            ) from error

    def write_logs(self, batch: SessionBatch) -> None:
        """A line with a log record for each session."""
        line = _line(ExportLogsServiceRequest.FromString(self._encoder.encode(batch)))
        failure = self._append(self._logs, line)
        self._ledger.count("file", Outcome.REJECTED if failure else Outcome.EXPORTED, len(batch))
        if failure:
            self._trouble.began(failure, "what is lost is counted in tcplife.export.records")
        else:
            self._trouble.over()

    def write_metrics(self, data: MetricsData) -> str:
        """A line with all metrics; return why it could not be written, or nothing."""
        return self._append(self._metrics, _line(encode_metrics(data)))

    def _append(self, file: io.FileIO, line: bytes) -> str:
        """Write the whole line, or nothing of it: a file that ends within a line could not be read on."""
        try:
            start = file.seek(0, io.SEEK_END)
            if file.write(line) < len(line):
                file.truncate(start)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            return error.strerror or str(error)
        return ""


def _open(path: Path) -> io.FileIO:
    """A file to append to; a line that was broken off, as by a power cut, is ended, so that it spoils no other."""
    file = path.open("a+b", buffering=0)
    if file.seek(0, io.SEEK_END):
        file.seek(-1, io.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


def _line(message: Message) -> bytes:
    """OTLP's JSON: as protobuf's, with enums as numbers."""
    content = MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
