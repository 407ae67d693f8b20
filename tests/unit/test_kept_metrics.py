"""The last metrics that a receiver did not take are on disk, and the next start sends them before its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.otlp.kept_metrics import KeptMetrics
from otel_tcplife.export.otlp.metrics import OtlpMetricExporter
from otel_tcplife.export.otlp.spool import CannotSpool, Spool
from otel_tcplife.export.otlp.transport import open_transport
from otel_tcplife.export.resource import Resources
from tests.support.exporters import sender
from tests.support.otlp_receiver import PROTOBUF, Answer, HttpReceiver
from tests.support.received import read_requests
from tests.support.sessions import sessions
from tests.support.transports import configured

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host")


class Run:
    """One run of a tracer that exports deltas."""

    def __init__(self, directory: Path, receiver: HttpReceiver) -> None:
        self.spool = Spool(str(directory), 1 << 26)
        self._aggregator = Aggregator(Resources(Resource({})), Preference(True, True), {})
        transport = open_transport(configured("metrics", receiver.endpoint), "metrics")
        self._exporter = OtlpMetricExporter(sender(transport, "metrics"), KeptMetrics(self.spool, "otlp_metrics"))

    def export(self, count: int) -> bool:
        """Export so many sessions more; return whether they are on disk."""
        self._aggregator.add(sessions(count))
        exported = self._exporter.export(self._aggregator.collect())
        self._aggregator.put_back(exported.undelivered)
        return exported.is_kept

    def end(self) -> None:
        self._exporter.close()
        self.spool.close()


def _counts(receiver: HttpReceiver) -> list[int | None]:
    points = read_requests(request.as_json() for request in receiver.requests).points
    return [point.count for point in points if point.name == "tcplife.session.duration"]


def test_what_fails_is_kept_once_until_it_has_arrived(tmp_path: Path, http_receiver: HttpReceiver) -> None:
    run = Run(tmp_path, http_receiver)
    http_receiver.answer = Answer(503)
    assert [run.export(1), run.export(2), run.export(3)] == [True] * 3
    assert run.spool.items("otlp_metrics") == 5  # the data points of one series in four metrics
    http_receiver.requests.clear()
    http_receiver.answer = Answer(200, PROTOBUF)
    assert not run.export(4)
    assert run.spool.items("otlp_metrics") == 0
    assert _counts(http_receiver) == [10]
    run.end()


def test_the_next_start_sends_what_was_kept(tmp_path: Path, http_receiver: HttpReceiver) -> None:
    http_receiver.answer = Answer(503)
    for count in (3, 4):
        run = Run(tmp_path, http_receiver)
        assert run.export(count)
        run.end()
    http_receiver.requests.clear()
    http_receiver.answer = Answer(200, PROTOBUF)
    run = Run(tmp_path, http_receiver)
    run.export(5)
    run.export(6)
    assert _counts(http_receiver) == [3, 4, 5, 6]
    assert run.spool.bytes == 0
    run.end()


def test_what_was_kept_stays_until_the_next_is(
    tmp_path: Path, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    """kill -9 in between would lose it otherwise, and so would a disk that is full by then."""
    run = Run(tmp_path, http_receiver)
    http_receiver.answer = Answer(503)
    assert run.export(1)

    def ends(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("otel_tcplife.export.otlp.spool_file.row", ends)
        with pytest.raises(KeyboardInterrupt):
            run.export(2)
    assert run.spool.items("otlp_metrics") == 5
    run.end()


def test_what_is_refused_for_good_is_not_kept(tmp_path: Path, http_receiver: HttpReceiver) -> None:
    http_receiver.answer = Answer(400)
    run = Run(tmp_path, http_receiver)
    assert not run.export(1)
    assert run.spool.bytes == 0
    run.end()


def test_a_spool_that_fails_ends_no_export(
    tmp_path: Path, http_receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    def fails(*_: object) -> None:
        raise CannotSpool("no room")

    run = Run(tmp_path, http_receiver)
    http_receiver.answer = Answer(503)
    for name in ("add", "oldest", "settle"):
        monkeypatch.setattr(run.spool, name, fails)
    assert not run.export(1)
    http_receiver.answer = Answer(200, PROTOBUF)
    assert not run.export(2)
    assert _counts(http_receiver) == [1, 3]
    assert logged == [
        f"cannot keep metrics in {tmp_path}: no room; those of the last export are in memory only",
        f"can keep metrics in {tmp_path} again",
    ]
    run.end()
