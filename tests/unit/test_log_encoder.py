"""Our encoder against the SDK's, on the same sessions, as a byte-exact decoder reads both."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_tcplife.conventions import ATTRIBUTES, SCHEMA_URL
from otel_tcplife.export.otlp import joined, log_records
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.resource import Resources
from otel_tcplife.flow_id import community_ids
from otel_tcplife.log_options import LogOptions
from otel_tcplife.session import SESSION_IN_SPAN, Event, SessionBatch, as_rows_of, empty
from tests.support.batches import batches
from tests.support.sdk_logs import encoded_by_the_sdk, in_order
from tests.support.sessions import sessions

_RESOURCE = Resource({"service.name": "test", "list": ["a", "b"], "number": 7, "yes": True, "ratio": 0.5}, SCHEMA_URL)


_NONE = LogOptions()
_OPTIONS = LogOptions(log_sample=0.25, event_name_attribute=True, community_id=True)
"""All that records have besides where it is asked for."""


@settings(max_examples=300)
@given(
    batch=batches(),
    matrix=st.integers(1, 8000),
    few=st.sampled_from([0, 3, 1024]),
    options=st.sampled_from([_NONE, _OPTIONS]),
)
def test_a_decoder_reads_what_the_sdk_would_have_encoded(
    batch: SessionBatch, matrix: int, few: int, options: LogOptions
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joined, "_MOST_BYTES", matrix)
        patch.setattr(log_records, "MOST_COMBINATIONS", few)
        encoder = LogEncoder(Resources(_RESOURCE), options=options)
        ours = ExportLogsServiceRequest.FromString(encoder.encode(batch))
    assert in_order(ours) == in_order(encoded_by_the_sdk(batch, _RESOURCE, options))


def _attributes(batch: SessionBatch, options: LogOptions) -> list[dict[str, object]]:
    """Those of each record that only records with options have."""
    request = ExportLogsServiceRequest.FromString(LogEncoder(Resources(Resource({})), options=options).encode(batch))
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


@settings(max_examples=50)
@given(batch=batches(), random=st.randoms(use_true_random=False))
def test_the_span_of_those_that_have_one(batch: SessionBatch, random: Random) -> None:
    """Of the fields of the SDK's span context, which is valid where neither id is zero."""
    batch = as_rows_of(SESSION_IN_SPAN, batch)
    for row in range(0, len(batch), 2):
        batch["trace_id"][row], batch["span_id"][row] = ([*random.randbytes(size - 1), 1] for size in (16, 8))
        batch["trace_flags"][row] = random.randrange(256)
    ours = ExportLogsServiceRequest.FromString(LogEncoder(Resources(_RESOURCE)).encode(batch))
    assert in_order(ours) == in_order(encoded_by_the_sdk(batch, _RESOURCE))
    spans = [
        (each.trace_id, each.span_id, each.flags) for each in in_order(ours).resource_logs[0].scope_logs[0].log_records
    ]
    known = [(bytes(row["trace_id"]), bytes(row["span_id"]), int(row["trace_flags"])) for row in batch[::2]]
    assert sorted(each for each in spans if each[0]) == sorted(known)


def test_many_different_sessions_in_one_request() -> None:
    """More combinations of texts than are looked up together."""
    batch = empty(2000)
    batch["event"], batch["ip_version"], batch["pid"] = 1, 4, 1
    for row in range(len(batch)):
        batch["comm"][row] = f"comm-{row % 700}".encode()
        batch["executable"][row] = f"executable-{row % 90}".encode()
        batch["error"][row] = row % 130
        batch["peer_address"][row, 10:] = 255, 255, 10, 0, row >> 8, row & 255
    ours = ExportLogsServiceRequest.FromString(LogEncoder(Resources(_RESOURCE)).encode(batch))
    assert in_order(ours) == in_order(encoded_by_the_sdk(batch, _RESOURCE))
