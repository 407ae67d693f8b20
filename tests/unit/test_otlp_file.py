"""The lines of --otlp-file are OTLP JSON with all that the sessions say, and each is there as a whole or not at all."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from opentelemetry.sdk.resources import Resource

from otel_tcplife import conventions
from otel_tcplife.errors import BadUsage
from otel_tcplife.export.metrics.aggregator import Aggregator
from otel_tcplife.export.metrics.preference import Preference
from otel_tcplife.export.metrics.reader import Exported
from otel_tcplife.export.otlp.files import OtlpFiles
from otel_tcplife.export.otlp.line_file import FileLimits
from otel_tcplife.export.resource import Resources
from otel_tcplife.export.sdk.emit import log_records
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.retry import RetryingSink
from otel_tcplife.session import SessionBatch
from otel_tcplife.version import __version__
from tests.support.batches import batches
from tests.support.exporters import file_log_exporter, file_metric_exporter
from tests.support.log_lines import logged_lines
from tests.support.received import read_otlp_json_lines
from tests.support.sessions import sessions

RESOURCE = {"service.name": "t\u00e9st\u2028", "list": ["a", "b"], "number": 7, "yes": True, "ratio": 0.5}


def _files(directory: Path) -> OtlpFiles:
    return OtlpFiles(str(directory))


def _write_logs(files: OtlpFiles, batch: SessionBatch) -> Mapping[Outcome, int]:
    return file_log_exporter(files, RESOURCE).export(batch)


def _write_metrics(files: OtlpFiles, aggregator: Aggregator) -> Exported:
    return file_metric_exporter(files).export(aggregator.collect())


def _metrics(*written: SessionBatch, preference: Preference) -> Aggregator:
    aggregator = Aggregator(Resources(Resource(RESOURCE)), preference, {})
    for batch in written:
        aggregator.add(batch)
    return aggregator


@settings(max_examples=100)
@given(batch=batches())
def test_logs_are_the_sessions(tmp_path_factory: pytest.TempPathFactory, batch: SessionBatch) -> None:
    directory = tmp_path_factory.mktemp("logs")
    booked = _write_logs(_files(directory), batch)
    received = read_otlp_json_lines(directory / "logs.jsonl").logs
    for log, record in zip(received, log_records(batch), strict=True):
        assert (log.time_unix_nano, log.observed_time_unix_nano) == (record.timestamp or 0, record.observed_timestamp)
        assert (log.event_name, log.body) == (record.event_name, record.body)
        assert record.severity_number
        assert (log.severity_number, log.severity_text) == (record.severity_number.value, record.severity_text)
        assert log.attributes == record.attributes
        assert (log.resource, log.scope_name, log.scope_version) == (RESOURCE, conventions.SCOPE, __version__)
    assert booked == {Outcome.EXPORTED: len(batch)}


@pytest.mark.parametrize("exponential", [False, True])
def test_metrics_are_the_sessions(exponential: bool, tmp_path: Path) -> None:
    aggregator = _metrics(sessions(3), sessions(4), preference=Preference(exponential=exponential))
    assert not _write_metrics(_files(tmp_path), aggregator).failure
    points = read_otlp_json_lines(tmp_path / "metrics.jsonl").points
    [duration] = [point for point in points if point.name == "tcplife.session.duration"]
    assert duration.kind == ("exponential_histogram" if exponential else "histogram")
    assert (duration.unit, duration.temporality) == ("s", 2)
    assert (duration.count, duration.sum, duration.min, duration.max) == (7, 7.0, 1.0, 1.0)
    assert sum(duration.bucket_counts) == 7
    assert duration.attributes["network.type"] == "ipv4"
    assert 0 < duration.start_time_unix_nano <= duration.time_unix_nano
    assert (duration.resource, duration.scope_name) == (RESOURCE, conventions.SCOPE)
    transmitted = [point for point in points if point.attributes.get("network.io.direction") == "transmit"]
    told = {point.name: (point.count, point.sum, point.value) for point in transmitted}
    assert told == {"tcplife.session.io": (7, 0, None), "tcplife.io": (None, None, 0)}


def test_each_batch_is_a_line_behind_those_that_are_there(tmp_path: Path) -> None:
    for _ in range(2):
        files = _files(tmp_path / "made" / "at once")
        for count in (1, 2):
            _write_logs(files, sessions(count))
            _write_metrics(files, _metrics(sessions(count), preference=Preference()))
    for name in ("logs.jsonl", "metrics.jsonl"):
        assert (tmp_path / "made" / "at once" / name).read_bytes().count(b"\n") == 4
    assert len(read_otlp_json_lines(tmp_path / "made" / "at once" / "logs.jsonl").logs) == 6


@pytest.mark.parametrize("below", ["file", "file/below"])
def test_no_directory(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadUsage, match=f"^cannot write to the directory .*{below}: .*; give --otlp-file a directory"):
        _files(tmp_path / below)


def _where_no_file_can_grow(directory: Path, bytes_left: int) -> tuple[list[str], dict[str, int], list[str]]:
    """What is said and booked of logs, and what comes of metrics, where no file may become larger than it is by more.

    A process of its own: no file of this process can grow further either (setrlimit(2)).
    """
    files = OtlpFiles(str(directory))
    exporter = file_log_exporter(files)
    booked: Counter[Outcome] = Counter()
    metrics = _metrics(sessions(10), preference=Preference())
    failures: list[str] = []

    def write_logs() -> None:
        booked.update(exporter.export(sessions(10)))

    def write_metrics() -> None:
        failures.append(_write_metrics(files, metrics).failure)

    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with logged_lines() as logged:
        for name, write in (("logs.jsonl", write_logs), ("metrics.jsonl", write_metrics)):
            write()
            size = (directory / name).stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + bytes_left, most))
            write()
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, most))
            write()
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            write()
    return logged, {outcome.value: records for outcome, records in booked.items()}, failures


@pytest.mark.parametrize("bytes_left", [0, 700])
def test_what_no_file_can_hold_is_rejected_as_a_whole_and_logged_once(bytes_left: int, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        logged, booked, failures = process.submit(_where_no_file_can_grow, tmp_path, bytes_left).result()
    assert logged == [
        f"cannot have all logs accepted by {tmp_path}: File too large; 10 rejected, counted in tcplife.export.records",
        f"can have all logs accepted by {tmp_path} again",
    ]
    assert booked == {"exported": 30, "rejected": 10}
    assert failures == ["", "", "File too large", ""]
    for name, most in (("logs.jsonl", 30), ("metrics.jsonl", 3)):
        kept = sorted(tmp_path.glob(f"{name}*"))
        assert kept[0].name == name
        received = [read_otlp_json_lines(path) for path in kept]
        points = [point for each in received for point in each.points if point.name == "tcplife.session.duration"]
        assert sum(len(each.logs) for each in received) + len(points) == most


def test_deltas_that_could_not_be_written_come_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = file_metric_exporter(_files(tmp_path))
    aggregator = _metrics(sessions(3), preference=Preference(delta_histograms=True))

    def fail(_descriptor: int, _line: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", fail)
        for _ in range(2):
            exported = exporter.export(aggregator.collect())
            aggregator.put_back(exported.undelivered)
            assert (exported.failure, exported.is_worth_retrying) == ("No space left on device", True)
            aggregator.add(sessions(4))
    assert not exporter.export(aggregator.collect()).undelivered
    points = read_otlp_json_lines(tmp_path / "metrics.jsonl").points
    assert [point.count for point in points if point.name == "tcplife.session.duration"] == [11]


def test_older_files_are_kept_of_each_kind(tmp_path: Path, logged: list[str]) -> None:
    files = OtlpFiles(str(tmp_path), FileLimits(most_bytes=1, kept=2))
    for count in range(1, 6):
        _write_logs(files, sessions(count))
        _write_metrics(files, _metrics(sessions(count), preference=Preference()))
    for name in ("logs.jsonl", "metrics.jsonl"):
        assert sorted(path.name for path in tmp_path.glob(f"{name}*")) == [name, f"{name}.1", f"{name}.2"]
    assert len(logged) == 2
    lines = [tmp_path / name for name in ("logs.jsonl.2", "logs.jsonl.1", "logs.jsonl")]
    assert [len(read_otlp_json_lines(path).logs) for path in lines] == [3, 4, 5]


def test_the_deadline_ends_the_wait_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    deadline, tried = Deadline(0.2), threading.Event()
    exporter = file_log_exporter(OtlpFiles(str(tmp_path)))
    sink = RetryingSink(exporter, deadline)
    booked: list[Mapping[Outcome, int]] = []

    def fail(_descriptor: int, _line: bytes) -> int:
        tried.set()
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "write", fail)
    writing = threading.Thread(target=lambda: booked.extend(sink.export(sessions(3))), daemon=True)
    writing.start()
    tried.wait()
    deadline.set()
    writing.join()
    assert logged == [f"cannot write logs to {tmp_path}: Disk quota exceeded; retrying"]
    assert [outcomes for outcomes in booked if outcomes] == [{Outcome.UNSENT: 3}]


@pytest.mark.parametrize("before", [b"", b'{"resourceLogs":[]}\n', b'{"resourceLogs":[{"broken off'])
def test_a_line_that_was_broken_off_spoils_no_other(tmp_path: Path, before: bytes) -> None:
    logs = tmp_path / "logs.jsonl"
    logs.write_bytes(before)
    _write_logs(_files(tmp_path), sessions(2))
    *earlier, last = logs.read_bytes().splitlines()
    assert earlier == before.splitlines()
    (tmp_path / "last.jsonl").write_bytes(last + b"\n")
    assert len(read_otlp_json_lines(tmp_path / "last.jsonl").logs) == 2
