"""Providers of the SDK that keep what they get."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View


@dataclass
class Providers:
    """Providers that keep what they get."""

    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    views: tuple[View, ...] = ()

    def __post_init__(self) -> None:
        self._exporter = InMemoryLogRecordExporter()
        self.logs = LoggerProvider(shutdown_on_exit=False)
        self.logs.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))
        self.metrics = MeterProvider([self.reader], shutdown_on_exit=False, views=self.views)

    def records(self, port: int) -> list[dict[str, Any]]:
        """The attributes of the records of sessions with this port at either end."""
        finished: tuple[ReadableLogRecord, ...] = self._exporter.get_finished_logs()
        all_attributes = [dict(each.log_record.attributes or {}) for each in finished]
        return [each for each in all_attributes if port in (each["network.local.port"], each["network.peer.port"])]

    def collect(self) -> dict[str, list[Any]]:
        """The data points of each metric as it is now."""
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}

    def points(self, name: str) -> list[Any]:
        """The data points of one metric as it is now."""
        return self.collect().get(name, [])

    def outcomes(self, name: str) -> dict[str, int]:
        """The values of a counter, by outcome, where there are any."""
        return {point.attributes["tcplife.outcome"]: point.value for point in self.points(name) if point.value}
