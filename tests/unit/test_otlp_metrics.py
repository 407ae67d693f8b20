"""Metrics through the SDK's exporters, configured as the logs are, against real servers on loopback."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_tcplife.export.otlp.config import OtlpConfig
from otel_tcplife.export.otlp.metrics import otlp_metric_exporter
from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver, grpc_credentials
from tests.support.tls import Tls
from tests.support.transports import configured


def _export_metric(config: OtlpConfig) -> None:
    reader = PeriodicExportingMetricReader(otlp_metric_exporter(config))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("sessions").add(1)
    provider.shutdown()


@pytest.fixture(autouse=True)
def _misleading_environment(no_configuration_of_the_host: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK must not read any more, since the configuration has been read."""
    for name, value in {"COMPRESSION": "gzip", "ENDPOINT": "http://127.0.0.1:9", "CERTIFICATE": "/no/such.pem"}.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_METRICS_{name}", value)


def test_over_http(http_receiver: HttpReceiver) -> None:
    config = configured("metrics", f"http://{http_receiver.address}", HEADERS="key=value", COMPRESSION="deflate")
    _export_metric(config)
    (request,) = http_receiver.requests
    assert (request.path, request.headers["key"]) == ("/v1/metrics", "value")
    assert len(ExportMetricsServiceRequest.FromString(zlib.decompress(request.body)).resource_metrics) == 1


def test_over_http_with_tls(http_receiver: HttpReceiver, tls: Tls) -> None:
    http_receiver.speak_tls(tls, ask_client=True)
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    config = configured("metrics", f"https://{http_receiver.address}", CERTIFICATE=str(tls.ca), **client)
    _export_metric(config)
    assert len(http_receiver.requests) == 1


def test_over_grpc(grpc_receiver: GrpcReceiver) -> None:
    config = configured("metrics", f"http://{grpc_receiver.address}", PROTOCOL="grpc", HEADERS="key=value")
    _export_metric(config)
    (request,) = grpc_receiver.requests
    assert request.headers["key"] == "value"
    assert len(ExportMetricsServiceRequest.FromString(request.body).resource_metrics) == 1


def test_over_grpc_with_tls(serve_grpc: Callable[..., GrpcReceiver], tls: Tls) -> None:
    receiver = serve_grpc(grpc_credentials(tls, ask_client=True))
    client = {"CLIENT_CERTIFICATE": str(tls.client_cert), "CLIENT_KEY": str(tls.client_key)}
    config = configured("metrics", receiver.address, PROTOCOL="grpc", CERTIFICATE=str(tls.ca), **client)
    _export_metric(config)
    assert len(receiver.requests) == 1
