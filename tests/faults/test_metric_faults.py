"""Metrics to a receiver that refuses them in all ways: each session is counted once, of either temporality."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic

import grpc
import pytest

from tests.faults.grpc_answers import grpc_answers
from tests.faults.http_answers import TIMEOUT, away, http_answers
from tests.faults.metrics import counted_sessions
from tests.faults.receiving import Act, Answering, Fate, GrpcAct, HttpAct
from tests.faults.replaying import Replaying
from tests.support.otlp_receiver import GrpcReceiver, HttpHandler, HttpReceiver, Request

_FIRST, _SECOND = range(3000), range(3000, 4000)
"""Sessions of a run that ends while the receiver is away, and of the next one."""

_WAYS = [*itertools.product(("http/protobuf", "grpc"), ("cumulative", "delta"))]


class _Refusing(Generic[Act]):
    """Refuses a request in each way, and takes all that come after these, unless it is away."""

    def __init__(self, answers: list[Answering[Act]], away: Act) -> None:
        self.left = [each.act for each in answers if each.fate in (Fate.LATER, Fate.IN_PARTS, Fate.REJECTED)]
        self.is_away = False
        self._away = away
        self._lock = threading.Lock()

    def next(self) -> Act | None:
        """How to refuse the next request, None to take it."""
        with self._lock:
            if self.is_away:
                return self._away
            return self.left.pop(0) if self.left else None


class _Http(HttpReceiver):
    def __init__(self) -> None:
        super().__init__()
        self.refusing = _Refusing[HttpAct](http_answers(), away)
        self.act = self._act

    def take(self, request: Request) -> None:
        """Nothing yet."""

    def _act(self, handler: HttpHandler) -> None:
        refuse = self.refusing.next()
        if not refuse:
            self.requests.append(handler.request_got)
        (refuse or HttpHandler.give_answer)(handler)


def _grpc_away(context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.UNAVAILABLE, "away")


class _Grpc(GrpcReceiver):
    def __init__(self) -> None:
        self.refusing = _Refusing[GrpcAct](grpc_answers(), _grpc_away)
        super().__init__()

    def answer_to(self, request: Request, context: grpc.ServicerContext) -> bytes:
        refuse = self.refusing.next()
        if not refuse:
            return b""
        self.requests.remove(request)
        return refuse(context)

    def __enter__(self) -> _Grpc:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def _run(protocol: str, temporality: str, spool: Path) -> int:
    """Return how many sessions the receiver has counted after both runs."""
    with _Grpc() if protocol == "grpc" else _Http() as receiver:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(TIMEOUT),
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_METRIC_EXPORT_INTERVAL": "20",
            "OTEL_PYTHON_TCPLIFE_SPOOL": str(spool),
        }
        with Replaying(env) as first:
            fed = 0
            while receiver.refusing.left:
                first.feed(range(fed, fed + 10), header=not fed)
                fed += 10
                left = len(receiver.refusing.left)
                first.wait_until(lambda left=left: len(receiver.refusing.left) < left)
            receiver.refusing.is_away = True
            first.feed(range(fed, _FIRST.stop))
            first.signal(signal.SIGTERM)
            assert first.wait() == 0
        receiver.refusing.is_away = False
        with Replaying(env) as second:
            second.feed(_SECOND, header=True)
            assert second.end() == 0
        read = [int(line.split()[0]) for line in [*first.said, *second.said] if "sessions ended" in line]
        assert not any("Traceback" in line for line in [*first.said, *second.said])
        return counted_sessions(receiver.requests) - sum(read)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[tuple[str, str], Future[int]]]:
    """All at once, as they wait most of the time."""
    with ThreadPoolExecutor(len(_WAYS)) as pool:
        yield {way: pool.submit(_run, *way, tmp_path_factory.mktemp("spool")) for way in _WAYS}


@pytest.mark.parametrize(("protocol", "temporality"), _WAYS)
def test_each_session_is_counted_once(
    protocol: str, temporality: str, runs: dict[tuple[str, str], Future[int]]
) -> None:
    """Whatever the receiver says, it has no more and no fewer than were read."""
    assert runs[protocol, temporality].result() == 0
