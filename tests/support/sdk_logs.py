"""The same log records as the SDK encodes them, for comparison."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from otel_tcplife.export.sdk.emit import ProviderLogs
from otel_tcplife.host import UNKNOWN_HOST, Host
from otel_tcplife.log_options import LogOptions
from otel_tcplife.pipeline.ledger import Outcome
from otel_tcplife.session import SessionBatch

_WITHOUT_OPTIONS = LogOptions()


def encoded_by_the_sdk(
    batch: SessionBatch, resource: Resource, options: LogOptions = _WITHOUT_OPTIONS, host: Host = UNKNOWN_HOST
) -> ExportLogsServiceRequest:
    """Emitted by the provider route, below one resource."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    became = ProviderLogs("test", provider, host, options).export(batch)
    assert became == {Outcome.EXPORTED: len(batch), Outcome.REJECTED: 0}
    finished: Sequence[ReadableLogRecord] = exporter.get_finished_logs()
    return encode_logs(finished)


def in_order(request: ExportLogsServiceRequest) -> ExportLogsServiceRequest:
    """The order of attributes has no meaning."""
    for resource_logs in request.resource_logs:
        resource_logs.resource.attributes.sort(key=lambda attribute: attribute.key)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                record.attributes.sort(key=lambda attribute: attribute.key)
    return request
