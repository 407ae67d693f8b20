"""The SDK's OTLP exporter of metrics, configured as the logs are."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.sdk.metrics.export import MetricExporter

from otel_tcplife.export.otlp.config import OtlpConfig

_READ_ALREADY = ("OTEL_EXPORTER_OTLP_", "OTEL_PYTHON_EXPORTER_OTLP_HTTP_", "OTEL_PYTHON_EXPORTER_OTLP_GRPC_")
_CODES = "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES"


def otlp_metric_exporter(config: OtlpConfig) -> MetricExporter:
    """An exporter over the configured protocol; temporality and histograms are those of the data that it gets.

    It takes the configuration of the metrics. Raises BadUsage for what cannot be used, and OSError where a certificate
    that was there has gone.
    """
    if config.protocol == "grpc":
        return _over_grpc(config)
    return _over_http(config)


def _over_http(config: OtlpConfig) -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    from otel_tcplife.export.otlp.http_session import open_session

    session = open_session(config)
    with _only_what_is_given():
        return OTLPMetricExporter(
            endpoint=config.endpoint,
            certificate_file=session.verify if isinstance(session.verify, str) else None,
            client_key_file=config.client_key,
            client_certificate_file=config.client_certificate,
            headers=dict(config.headers),
            timeout=config.timeout,
            compression=Compression(config.compression),
            session=session,
        )


def _over_grpc(config: OtlpConfig) -> MetricExporter:
    from otel_tcplife.export.otlp.grpc import channel_compression, channel_credentials, retryable_codes
    from otel_tcplife.export.otlp.grpc_environment import check_grpc_environment

    # Behind the import above, which quiets gRPC.
    check_grpc_environment(config)
    credentials = None if config.insecure else channel_credentials(config)
    codes = ",".join(code.name for code in retryable_codes(config))
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    # SDK 1.39 has neither this variable nor an argument for it
    given = {_CODES: codes} if config.retryable_codes else {}
    with _only_what_is_given(**given):
        return OTLPMetricExporter(
            endpoint=config.endpoint,
            insecure=config.insecure,
            credentials=credentials,
            headers=dict(config.headers),
            timeout=config.timeout,
            compression=channel_compression(config),
        )


@contextmanager
def _only_what_is_given(**given: str) -> Generator[None]:
    """Without the variables that are read already: the exporters read them as well, and fail on an empty one."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_READ_ALREADY)}
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            del os.environ[name]
        os.environ.update(kept)
