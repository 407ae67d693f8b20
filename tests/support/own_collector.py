"""Receivers of our own in the place of a collector, for machines on which there is none to test against."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import grpc
from typing_extensions import Self

from tests.support.otlp_receiver import FileReceiver, GrpcReceiver, Request
from tests.support.received import ReceivedLog, ReceivedPoint, read_otlp_json_lines


class _ForwardingReceiver(GrpcReceiver):
    """Gives what it gets to another one, which writes it."""

    def __init__(self, writer: FileReceiver) -> None:
        super().__init__()
        self._writer = writer

    def answer_to(self, request: Request, context: grpc.ServicerContext) -> bytes:
        self._writer.take(request)
        return super().answer_to(request, context)


class OwnCollector:
    """Receives over HTTP and gRPC, with the interface of Collector less TLS."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as started:
            writer = started.enter_context(FileReceiver(self._directory))
            over_grpc = _ForwardingReceiver(writer)
            started.callback(over_grpc.stop)
            self.http_endpoint, self.grpc_endpoint = writer.endpoint, over_grpc.endpoint
            self._started = started.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more. Idempotent."""
        self._started.close()

    def logs(self) -> list[ReceivedLog]:
        """The log records written so far."""
        return read_otlp_json_lines(self._directory / "logs.jsonl").logs

    def metrics(self) -> list[ReceivedPoint]:
        """The data points written so far."""
        return read_otlp_json_lines(self._directory / "metrics.jsonl").points
