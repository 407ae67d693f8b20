"""Where gRPC exporters connect to, by the variables that the SDK reads."""

from __future__ import annotations

import pytest

from otel_tcplife.export.sdk.grpc_receivers import grpc_receivers

_E = "OTEL_EXPORTER_OTLP_"


_FOUND: list[tuple[dict[str, str], set[tuple[str, int]]]] = [
    ({}, set()),
    ({"OTEL_LOGS_EXPORTER": "console"}, set()),
    ({"OTEL_LOGS_EXPORTER": "otlp"}, {("localhost", 4317)}),
    ({"OTEL_TRACES_EXPORTER": "console,otlp_proto_grpc"}, {("localhost", 4317)}),
    ({"OTEL_LOGS_EXPORTER": "otlp", f"{_E}PROTOCOL": "http/protobuf"}, set()),
    ({"OTEL_LOGS_EXPORTER": "otlp_proto_grpc", f"{_E}PROTOCOL": "http/protobuf"}, {("localhost", 4317)}),
    (
        {"OTEL_LOGS_EXPORTER": "otlp", f"{_E}PROTOCOL": "http/protobuf", f"{_E}LOGS_PROTOCOL": "grpc"},
        {("localhost", 4317)},
    ),
    ({"OTEL_METRICS_EXPORTER": "otlp", f"{_E}ENDPOINT": "https://Collector.example"}, {("collector.example", 443)}),
    ({"OTEL_METRICS_EXPORTER": "otlp", f"{_E}ENDPOINT": "10.0.0.1:55680"}, {("10.0.0.1", 55680)}),
    ({"OTEL_METRICS_EXPORTER": "otlp", f"{_E}ENDPOINT": "dns:///collector:4317"}, {("collector", 4317)}),
    ({"OTEL_METRICS_EXPORTER": "otlp", f"{_E}ENDPOINT": "[::1]:4317"}, {("::1", 4317)}),
    ({"OTEL_METRICS_EXPORTER": "otlp", f"{_E}ENDPOINT": "unix:/run/collector"}, set()),
    ({"OTEL_METRICS_EXPORTER": "otlp", f"{_E}ENDPOINT": "http://[::1"}, set()),
    ({"OTEL_METRICS_EXPORTER": "otlp", f"{_E}ENDPOINT": "http://host:port"}, set()),
    (
        {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            f"{_E}ENDPOINT": "http://a:1",
            f"{_E}LOGS_ENDPOINT": "http://b:2",
        },
        {("a", 1), ("b", 2)},
    ),
]


@pytest.mark.parametrize(("environ", "receivers"), _FOUND)
def test_they_are_those_of_the_sdk(environ: dict[str, str], receivers: set[tuple[str, int]]) -> None:
    assert grpc_receivers(environ) == receivers
