"""A receiver for long runs, in a process of its own: it counts what it takes, and keeps nothing."""

from __future__ import annotations

import multiprocessing
import threading
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from typing_extensions import Self

from tests.faults.metrics import SessionCounter
from tests.support.otlp_receiver import Answer, GrpcReceiver, HttpReceiver, Request


class _Counts:
    """Shared by both processes."""

    def __init__(self, context: Any) -> None:
        self.records: Synchronized[int] = context.Value("q", 0)
        self.counted: Synchronized[int] = context.Value("q", 0)
        self.is_away: Synchronized[int] = context.Value("i", 0)


class CountingReceiver:
    """Such a receiver, inside its `with` block. While it is away, it refuses all, logs and metrics."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        context = multiprocessing.get_context("spawn")
        self._counts = _Counts(context)
        self._ports: Any = context.SimpleQueue()
        self._process = context.Process(target=_serve, args=(protocol, self._counts, self._ports), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        endpoint = f"http://127.0.0.1:{self._ports.get()}"
        self.env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": self._protocol}
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.join()

    @property
    def records(self) -> int:
        """Log records that it has taken."""
        return self._counts.records.value

    @property
    def counted(self) -> int:
        """Sessions in the histograms that it has taken."""
        return self._counts.counted.value

    @property
    def is_away(self) -> bool:
        """Whether it refuses all, to be sent later."""
        return bool(self._counts.is_away.value)

    @is_away.setter
    def is_away(self, is_away: bool) -> None:
        self._counts.is_away.value = is_away


class _Taking:
    """What both protocols do with a request."""

    def __init__(self, counts: _Counts) -> None:
        self._counts = counts
        self._sessions = SessionCounter()

    def take(self, request: Request) -> bool:
        """Return whether it is taken."""
        if self._counts.is_away.value:
            return False
        if request.signal == "metrics":
            self._sessions.add(request)
            self._counts.counted.value = self._sessions.total
        else:
            message = ExportLogsServiceRequest.FromString(request.content)
            with self._counts.records.get_lock():
                self._counts.records.value += sum(
                    len(scope_logs.log_records) for logs in message.resource_logs for scope_logs in logs.scope_logs
                )
        return True


class _Http(HttpReceiver):
    def __init__(self, counts: _Counts) -> None:
        super().__init__()
        self._taking = _Taking(counts)

    def take(self, request: Request) -> None:
        """Keep nothing."""

    def answer_to(self, request: Request) -> Answer:
        return self.answer if self._taking.take(request) else Answer(503)


class _Grpc(GrpcReceiver):
    def __init__(self, counts: _Counts) -> None:
        self._taking = _Taking(counts)
        super().__init__(max_receive_message_length=-1)

    def answer_to(self, request: Request, context: grpc.ServicerContext) -> bytes:
        self.requests.clear()
        if not self._taking.take(request):
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return b""


def _serve(protocol: str, counts: _Counts, ports: Any) -> None:
    if protocol == "grpc":
        receiver = _Grpc(counts)
        ports.put(int(receiver.address.rpartition(":")[2]))
        threading.Event().wait()
    else:
        with _Http(counts) as receiver:
            ports.put(receiver.server_port)
            threading.Event().wait()
