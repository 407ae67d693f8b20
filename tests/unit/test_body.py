"""The readable line of a record, in which what is not known leaves no trace."""

from __future__ import annotations

from socket import AF_INET6, inet_pton

import numpy as np
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.otlp.log_encoder import LogEncoder
from otel_tcplife.export.resource import Resources
from otel_tcplife.export.sdk.emit import log_records
from tests.support.sessions import sessions


@pytest.mark.parametrize(
    ("pid", "comm", "owner"),
    [
        (573, b"curl", "curl[573] "),
        (0, b"swapper/20", "swapper/20 "),
        (0, b"node", "node "),
        (573, b"", "[573] "),
        (0, b"", ""),
    ],
)
@pytest.mark.parametrize("address", ["192.0.2.113", "2001:db8::1"])
def test_the_owner_stands_apart_from_the_address(pid: int, comm: bytes, owner: str, address: str) -> None:
    batch = sessions(1)
    batch["pid"], batch["comm"] = pid, comm
    for column in ("local_address", "peer_address"):
        batch[column] = np.frombuffer(inet_pton(AF_INET6, address if ":" in address else f"::ffff:{address}"), np.uint8)
    [record] = log_records(batch)
    host = f"[{address}]" if ":" in address else address
    line = f"{owner}{host}:1 -> {host}:80 closed after 1000.000 ms, 0 bytes sent, 0 bytes received"
    assert record.body == line
    request = ExportLogsServiceRequest.FromString(LogEncoder(Resources(Resource({}))).encode(batch))
    assert request.resource_logs[0].scope_logs[0].log_records[0].body.string_value == line
