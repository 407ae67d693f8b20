"""OTLP JSON Lines in a directory: logs.jsonl and metrics.jsonl (file exporter specification), appended to."""

from __future__ import annotations

import errno
import json
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.config import Signal
from otel_tcplife.export.otlp.line_file import FileLimits, LineFile, file_limits
from otel_tcplife.export.otlp.own_files import Unsafe
from otel_tcplife.export.otlp.reply import Reply, Retryable, Success, TooLarge
from otel_tcplife.export.otlp.request import Body, message_of

MOST_BYTES = 400_000
"""Of a request before it is made JSON, which is up to two and a half times as long: readers take a line of 1 MiB."""


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
            give = "give --otlp-file"
            remedy = error.remedy(give) if isinstance(error, Unsafe) else f"{give} a directory of yours"
            raise BadUsage(f"cannot write to the directory {directory}: {_reason(error)}", remedy) from error

    def reopen(self) -> None:
        """Have each file opened anew before its next line. Any thread may call it."""
        self.logs.reopen()
        self.metrics.reopen()


class FileTransport:
    """Writes each request as a line of a file, which takes the place of a receiver."""

    def __init__(self, file: LineFile, signal: Signal) -> None:
        self._file = file
        self._signal: Signal = signal

    def send(self, body: Body, timeout: float) -> Reply:
        """Write the line. What a full disk refuses may be written later, what no file can hold only in parts."""
        del timeout
        try:
            self._file.append(_line(message_of(self._signal, body)))
        except OSError as error:
            return (TooLarge if error.errno == errno.EFBIG else Retryable)(_reason(error))
        return Success()

    def close(self) -> None:
        """Every line is written already."""


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _line(message: Message) -> bytes:
    """OTLP's JSON: as protobuf's, with enums as numbers."""
    content = MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
