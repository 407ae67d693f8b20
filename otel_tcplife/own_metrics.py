"""What the command says of itself, in the semantic conventions' names (otel, process) where there are some."""

from __future__ import annotations

from otel_tcplife.attribute import Definition
from otel_tcplife.instruments import DURATION_BOUNDS, CounterMetric, HistogramMetric

ERROR_TYPE = "error.type"
COMPONENT_TYPE = "otel.component.type"
_ERROR = Definition(ERROR_TYPE, "string", "`rejected` for what the receiver refused")
_TYPE = Definition(COMPONENT_TYPE, "string", "type of the exporter or queue")
_NAME = Definition("otel.component.name", "string", "name of the queue")
_MODE = Definition("cpu.mode", "string", "`user` or `system`")

LOG_INFLIGHT = CounterMetric(
    "otel.sdk.exporter.log.inflight",
    "{log_record}",
    "Log records that are being sent.",
    monotonic=False,
    attributes=(_TYPE,),
)
LOG_EXPORTED = CounterMetric(
    "otel.sdk.exporter.log.exported", "{log_record}", "Log records that were sent.", attributes=(_TYPE, _ERROR)
)
POINTS_EXPORTED = CounterMetric(
    "otel.sdk.exporter.metric_data_point.exported",
    "{data_point}",
    "Data points that were sent.",
    attributes=(_TYPE, _ERROR),
)
QUEUE_SIZE = CounterMetric(
    "otel.sdk.processor.log.queue.size",
    "{log_record}",
    "Sessions that wait in memory.",
    monotonic=False,
    attributes=(_NAME, _TYPE),
)
QUEUE_CAPACITY = CounterMetric(
    "otel.sdk.processor.log.queue.capacity",
    "{log_record}",
    "Sessions that may wait in memory.",
    monotonic=False,
    attributes=(_NAME, _TYPE),
)
CPU_TIME = CounterMetric("process.cpu.time", "s", "CPU time of the tracer.", attributes=(_MODE,))
MEMORY_USAGE = CounterMetric("process.memory.usage", "By", "Resident memory of the tracer.", monotonic=False)
RETRIES = CounterMetric(
    "tcplife.export.retries",
    "{retry}",
    "Requests that the receiver did not take, but may later.",
    attributes=(_TYPE,),
)
SPOOL_SIZE = CounterMetric("tcplife.spool.size", "By", "Bytes that wait in the spool.", monotonic=False)
SPOOL_AGE = CounterMetric(
    "tcplife.spool.age", "s", "Seconds that the oldest request has waited in the spool.", monotonic=False
)
OPERATION_DURATION = HistogramMetric(
    "otel.sdk.exporter.operation.duration",
    "s",
    "Time from the first sending of a batch until all of it was taken or refused.",
    (),
    (),
    DURATION_BOUNDS,
)
OPERATION_ATTRIBUTES = (_TYPE,)
"""Of OPERATION_DURATION."""
OWN_COUNTERS = (
    LOG_INFLIGHT, LOG_EXPORTED, POINTS_EXPORTED, RETRIES, QUEUE_SIZE, QUEUE_CAPACITY, SPOOL_SIZE, SPOOL_AGE,
    CPU_TIME, MEMORY_USAGE,
)  # fmt: skip
