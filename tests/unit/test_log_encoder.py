"""Our encoder against the SDK's, on the same sessions, as a byte-exact decoder reads both."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_tcplife.conventions import SCHEMA_URL
from otel_tcplife.export.otlp import protobuf as wire
from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.resource import Resources
from otel_tcplife.session import SessionBatch, empty
from tests.support.batches import batches
from tests.support.sdk_logs import encoded_by_the_sdk, in_order

_RESOURCE = Resource({"service.name": "test", "list": ["a", "b"], "number": 7, "yes": True, "ratio": 0.5}, SCHEMA_URL)


@settings(max_examples=300, deadline=None)
@given(batch=batches(), rows=st.integers(1, 8))
def test_a_decoder_reads_what_the_sdk_would_have_encoded(batch: SessionBatch, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_ROWS", rows)
        ours = ExportLogsServiceRequest.FromString(LogEncoder(Resources(_RESOURCE)).encode(batch))
    assert in_order(ours) == in_order(encoded_by_the_sdk(batch, _RESOURCE))


def test_many_different_sessions_in_one_request() -> None:
    """More combinations of texts than are looked up together."""
    batch = empty(2000)
    batch["event"], batch["ip_version"], batch["pid"] = 1, 4, 1
    for row in range(len(batch)):
        batch["comm"][row] = f"comm-{row % 700}".encode()
        batch["executable"][row] = f"executable-{row % 90}".encode()
        batch["error"][row] = row % 130
    ours = ExportLogsServiceRequest.FromString(LogEncoder(Resources(_RESOURCE)).encode(batch))
    assert in_order(ours) == in_order(encoded_by_the_sdk(batch, _RESOURCE))
