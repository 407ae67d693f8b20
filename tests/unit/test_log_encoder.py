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

from otel_tcplife.conventions import ATTRIBUTES, SCHEMA_URL
from otel_tcplife.export.otlp import protobuf as wire
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.sdk.emit import ProviderLogs
from otel_tcplife.flow_id import community_ids
from otel_tcplife.log_options import LogOptions
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.session import Event, SessionBatch, empty
from tests.support.batches import batches
from tests.support.sessions import sessions

_RESOURCE = Resource({"service.name": "test", "list": ["a", "b"], "number": 7, "yes": True, "ratio": 0.5}, SCHEMA_URL)


_NONE = LogOptions()
_OPTIONS = LogOptions(log_sample=0.25, event_name_attribute=True, community_id=True)
"""All that records have besides where it is asked for."""


def _by_the_sdk(batch: SessionBatch, options: LogOptions = _NONE) -> ExportLogsServiceRequest:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(_RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    assert ProviderLogs("test", provider, options=options).export(batch) == {
        Outcome.EXPORTED: len(batch),
        Outcome.REJECTED: 0,
    }
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
@given(batch=batches(), rows=st.integers(1, 8), options=st.sampled_from([_NONE, _OPTIONS]))
def test_a_decoder_reads_what_the_sdk_would_have_encoded(batch: SessionBatch, rows: int, options: LogOptions) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_ROWS", rows)
        encoder = LogEncoder(_RESOURCE.attributes, options=options)
        ours = ExportLogsServiceRequest.FromString(encoder.encode(batch))
    assert _in_order(ours) == _in_order(_by_the_sdk(batch, options))


def _attributes(batch: SessionBatch, options: LogOptions) -> list[dict[str, object]]:
    """Those of each record that only records with options have."""
    request = ExportLogsServiceRequest.FromString(LogEncoder({}, options=options).encode(batch))
    records = request.resource_logs[0].scope_logs[0].log_records
    mine = {attribute.name for attribute in ATTRIBUTES if attribute.option}
    return [
        {each.key: each.value.double_value or each.value.string_value for each in record.attributes if each.key in mine}
        for record in records
    ]


def test_what_is_there_only_where_it_is_asked_for() -> None:
    batch = sessions(2)
    batch["event"][1], batch["error"][1] = Event.CONNECT_FAILED, 111
    ids = community_ids(batch).to_list()
    assert _attributes(batch, _NONE) == [{}, {}]
    assert _attributes(batch, LogOptions(log_sample=0.25)) == [{"tcplife.sampling.ratio": 0.25}, {}]
    assert _attributes(batch, LogOptions(community_id=True)) == [{"network.community_id": each} for each in ids]
    assert _attributes(batch, LogOptions(event_name_attribute=True)) == [
        {"otel.event.name": "tcplife.session.closed"},
        {"otel.event.name": "tcplife.connect.failed"},
    ]


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
