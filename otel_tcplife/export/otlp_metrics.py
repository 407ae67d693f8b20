"""The SDK's OTLP exporter of metrics, configured as the logs are."""

from __future__ import annotations

from opentelemetry.sdk.metrics.export import MetricExporter

from otel_tcplife.export.otlp_config import OtlpConfig


def otlp_metric_exporter(config: OtlpConfig) -> MetricExporter:
    """An exporter over the configured protocol; temporality and histograms are those of the standard variables.

    It takes the configuration of the metrics. Raises OSError where a certificate that was there has gone.
    """
    if config.protocol == "grpc":
        return _over_grpc(config)
    return _over_http(config)


def _over_http(config: OtlpConfig) -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(
        endpoint=config.endpoint,
        certificate_file=config.certificate,
        client_key_file=config.client_key,
        client_certificate_file=config.client_certificate,
        headers=dict(config.headers),
        timeout=config.timeout,
        compression=Compression(config.compression),
    )


def _over_grpc(config: OtlpConfig) -> MetricExporter:
    from otel_tcplife.export.otlp_grpc import channel_compression, channel_credentials

    # Behind the import above, which quiets gRPC.
    credentials = None if config.insecure else channel_credentials(config)
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(
        endpoint=config.endpoint,
        insecure=config.insecure,
        credentials=credentials,
        headers=dict(config.headers),
        timeout=config.timeout,
        compression=channel_compression(config),
    )
