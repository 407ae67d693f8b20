"""Our encoder against the SDK's, on the same sessions, as a byte-exact decoder reads both."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_tcplife.conventions import SCHEMA_URL
from otel_tcplife.export.otlp import protobuf as wire
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.sdk.emit import ProviderLogs
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.session import SessionBatch, empty
from tests.support.batches import batches

_RESOURCE = Resource({"service.name": "test", "list": ["a", "b"], "number": 7, "yes": True, "ratio": 0.5}, SCHEMA_URL)


def _by_the_sdk(batch: SessionBatch) -> ExportLogsServiceRequest:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(_RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    assert ProviderLogs("test", provider).export(batch) == {Outcome.EXPORTED: len(batch), Outcome.REJECTED: 0}
    finished: Sequence[ReadableLogRecord] = exporter.get_finished_logs()
    return encode_logs(finished)


def _in_order(request: ExportLogsServiceRequest) -> ExportLogsServiceRequest:
    """The order of attributes has no meaning."""
    for resource_logs in request.resource_logs:
        resource_logs.resource.attributes.sort(key=lambda attribute: attribute.key)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                record.attributes.sort(key=lambda attribute: attribute.key)
    return request


@settings(max_examples=300, deadline=None)
@given(batch=batches(), rows=st.integers(1, 8))
def test_a_decoder_reads_what_the_sdk_would_have_encoded(batch: SessionBatch, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_ROWS", rows)
        ours = ExportLogsServiceRequest.FromString(LogEncoder(_RESOURCE.attributes).encode(batch))
    assert _in_order(ours) == _in_order(_by_the_sdk(batch))


def test_many_different_sessions_in_one_request() -> None:
    """More combinations of texts than are looked up together."""
    batch = empty(2000)
    batch["event"], batch["ip_version"], batch["pid"] = 1, 4, 1
    for row in range(len(batch)):
        batch["comm"][row] = f"comm-{row % 700}".encode()
        batch["executable"][row] = f"executable-{row % 90}".encode()
        batch["error"][row] = row % 130
    ours = ExportLogsServiceRequest.FromString(LogEncoder(_RESOURCE.attributes).encode(batch))
    assert _in_order(ours) == _in_order(_by_the_sdk(batch))
