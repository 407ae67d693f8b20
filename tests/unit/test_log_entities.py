"""Logs of several containers and pods: each below the resource of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_tcplife.export.otlp import joined
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.otlp.logs import OtlpLogExporter
from otel_tcplife.export.otlp.reply import Reply, Retryable, Success, TooLarge
from otel_tcplife.export.otlp.request import Body
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.pipeline.retry import RetryingSink
from otel_tcplife.session import SessionBatch
from tests.support.batches import batches
from tests.support.entities import HOST, RESOURCES, entity_of, spread
from tests.support.exporters import sender
from tests.support.sdk_logs import encoded_by_the_sdk, in_order
from tests.support.sessions import sessions


@settings(max_examples=200)
@given(batch=batches(9), cgroups=st.lists(st.integers(0, 9), min_size=9, max_size=9), matrix=st.integers(1, 8000))
def test_each_resource_has_the_logs_that_the_sdk_would_have_encoded(
    batch: SessionBatch, cgroups: list[int], matrix: int
) -> None:
    spread(batch, cgroups[: len(batch)])
    encoder = LogEncoder(RESOURCES, HOST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joined, "_MOST_BYTES", matrix)
        ours = ExportLogsServiceRequest.FromString(encoder.encode(encoder.in_order(batch)))
    by_resource: dict[bytes, Any] = {}
    for resource_logs in in_order(ours).resource_logs:
        assert by_resource.setdefault(resource_logs.resource.SerializeToString(), resource_logs) is resource_logs
    found = [entity_of(cgroup) for cgroup in batch["cgroup"].tolist()]
    assert len(by_resource) == len({*found})
    for entity in {*found}:
        of_entity = batch[[each == entity for each in found]]
        [expected] = in_order(encoded_by_the_sdk(of_entity, RESOURCES.of(entity))).resource_logs
        assert by_resource[expected.resource.SerializeToString()] == expected


@pytest.mark.parametrize("cgroups", [[1, 2, 1, 2, 1], [4, 4, 8, 8, 0], [3, 2, 1, 0, 3]])
def test_a_batch_in_any_order_is_encoded_whole(cgroups: list[int]) -> None:
    batch = spread(sessions(5), cgroups)
    request = ExportLogsServiceRequest.FromString(LogEncoder(RESOURCES, HOST).encode(batch))
    records = [len(scope.log_records) for each in request.resource_logs for scope in each.scope_logs]
    assert sum(records) == 5


@settings(max_examples=100)
@given(
    batch=batches(40),
    cgroups=st.lists(st.integers(0, 4), min_size=40, max_size=40),
    most_bytes=st.integers(1, 30_000),
    is_in_order=st.booleans(),
)
def test_requests_of_any_size_have_together_what_one_has(
    batch: SessionBatch, cgroups: list[int], most_bytes: int, is_in_order: bool
) -> None:
    spread(batch, cgroups[: len(batch)])
    encoder = LogEncoder(RESOURCES, HOST)
    batch = encoder.in_order(batch) if is_in_order else batch
    requests = [*encoder.requests(batch, most_bytes)]
    assert sum(request.items for request in requests) == len(batch)
    for request in requests:
        assert len(request.body) <= most_bytes or request.items == 1
        assert len([*_records(request.body)]) == request.items
    whole = encoder.encode(batch)
    assert [each for request in requests for each in _records(request.body)] == [*_records(whole)]


def _records(body: Body) -> Iterator[tuple[bytes, bytes]]:
    """Each record, and the resource that it stands below."""
    for each in ExportLogsServiceRequest.FromString(bytes(body)).resource_logs:
        for scope_logs in each.scope_logs:
            for record in scope_logs.log_records:
                yield each.resource.SerializeToString(), record.SerializeToString()


class _Receiver:
    """Takes requests of few records, and each second time is busy."""

    def __init__(self) -> None:
        self.ports: Counter[tuple[str, int]] = Counter()
        self._answers = 0

    def send(self, body: Body, timeout: float) -> Reply:
        message = ExportLogsServiceRequest.FromString(bytes(body))
        found = [
            (each.resource.SerializeToString().decode("latin-1"), attribute.value.int_value)
            for each in message.resource_logs
            for record in each.scope_logs[0].log_records
            for attribute in record.attributes
            if attribute.key == "network.local.port"
        ]
        if len(found) > 3:
            return TooLarge("too many")
        self._answers += 1
        if self._answers % 2 == 0:
            return Retryable("busy", after=0)
        self.ports.update(found)
        return Success()

    def close(self) -> None:
        """Nothing to close."""


class _NoWait(Deadline):
    def wait(self, seconds: float) -> bool:
        return self.is_set


@pytest.mark.usefixtures("logged")
def test_what_a_receiver_takes_in_parts_arrives_once() -> None:
    """The order of the records is not that of the batch, and what is left is exported again."""
    receiver = _Receiver()
    deadline = _NoWait(1e6)
    encoder = LogEncoder(RESOURCES, HOST)
    exporter = OtlpLogExporter("otlp", "export logs", encoder, sender(receiver, deadline=deadline), "there")
    batch = spread(sessions(40), (7 * row % 10 for row in range(40)))
    outcomes = [*RetryingSink(exporter, deadline).export(batch)]
    assert sum(each.get(Outcome.EXPORTED, 0) for each in outcomes) == 40
    assert sorted(port for _, port in receiver.ports) == [*range(1, 41)]
    assert {*receiver.ports.values()} == {1}
