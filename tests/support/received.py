"""What an OTLP receiver got, read from OTLP JSON lines and laid flat for comparison."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

Scalar = str | int | float | bool
Resource = dict[str, Scalar | list[Scalar]]
Kind = Literal["sum", "gauge", "histogram", "exponential_histogram"]
_KINDS: dict[str, Kind] = {
    "sum": "sum",
    "gauge": "gauge",
    "histogram": "histogram",
    "exponentialHistogram": "exponential_histogram",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedLog:
    """One log record with the resource and scope it came under; times in nanoseconds since 1970, 0 where absent."""

    event_name: str
    time_unix_nano: int
    observed_time_unix_nano: int
    severity_number: int
    severity_text: str
    body: str
    attributes: dict[str, Scalar]
    resource: Resource
    scope_name: str
    scope_version: str
    trace_id: str = ""
    """In hexadecimal digits, as `span_id`; both are empty where absent."""
    span_id: str = ""
    flags: int = 0

    @property
    def ports(self) -> tuple[int, int]:
        """Local and peer port, 0 where there is none: a connect of another process may have failed without a port."""
        return int(self.attributes.get("network.local.port", 0)), int(self.attributes.get("network.peer.port", 0))

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is of another network namespace than the tracer's, where the same ports are those of others."""
        return "tcplife.netns" in self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPoint:
    """One data point with the metric, resource and scope it came under; times as in ReceivedLog.

    What its kind has no field for is None or empty. `temporality` is OTLP's number (1 delta, 2 cumulative, 0 for a
    gauge); the buckets of an exponential histogram are its positive ones.
    """

    name: str
    unit: str
    description: str
    kind: Kind
    temporality: int
    monotonic: bool | None
    attributes: dict[str, Scalar]
    start_time_unix_nano: int
    time_unix_nano: int
    value: int | float | None
    count: int | None
    sum: float | None
    min: float | None
    max: float | None
    bucket_counts: list[int]
    explicit_bounds: list[float]
    scale: int | None
    zero_count: int | None
    bucket_offset: int | None
    resource: Resource
    scope_name: str
    scope_version: str


@dataclass(slots=True)
class Received:
    """The log records and data points of one file, in its order."""

    logs: list[ReceivedLog] = field(default_factory=list[ReceivedLog])
    points: list[ReceivedPoint] = field(default_factory=list[ReceivedPoint])


def read_otlp_json_lines(path: Path, *, growing: bool = False) -> Received:
    """Reads a file of OTLP JSON lines; with `growing`, a last line without its end is left for later.

    Raises OSError where the file cannot be read, and ValueError where it is not OTLP JSON lines of logs or metrics, or
    has values that this project's telemetry has not.
    """
    received = Received()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith("\n"):
                if growing:
                    break
                raise ValueError(f"{path}:{number}: the line has no end")
            try:
                _read_request(json.loads(line), received)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}:{number}: {error!r}") from error
    return received


def last_points(points: Iterable[ReceivedPoint], name: str) -> list[ReceivedPoint]:
    """The data points of a metric in its last export; there may be earlier ones if the machine is slow."""
    mine = [point for point in points if point.name == name]
    latest = max(point.time_unix_nano for point in mine)
    return [point for point in mine if point.time_unix_nano == latest]


def read_requests(requests: Iterable[dict[str, Any]]) -> Received:
    """Reads requests of logs or metrics as OTLP JSON has them. Raises what read_otlp_json_lines does, less OSError."""
    received = Received()
    for request in requests:
        _read_request(request, received)
    return received


def _read_request(request: dict[str, Any], received: Received) -> None:
    if not request.keys() <= {"resourceLogs", "resourceMetrics"}:
        raise ValueError(f"neither logs nor metrics: {sorted(request)}")
    for group in request.get("resourceLogs", []):
        resource = _resource(group)
        for scoped in group.get("scopeLogs", []):
            received.logs.extend(_log(record, resource, scoped.get("scope", {})) for record in scoped["logRecords"])
    for group in request.get("resourceMetrics", []):
        resource = _resource(group)
        for scoped in group.get("scopeMetrics", []):
            for metric in scoped["metrics"]:
                received.points.extend(_points(metric, resource, scoped.get("scope", {})))


def _log(record: dict[str, Any], resource: Resource, scope: dict[str, str]) -> ReceivedLog:
    return ReceivedLog(
        event_name=record.get("eventName", ""),
        time_unix_nano=int(record.get("timeUnixNano", 0)),
        observed_time_unix_nano=int(record.get("observedTimeUnixNano", 0)),
        severity_number=int(record.get("severityNumber", 0)),
        severity_text=record.get("severityText", ""),
        # The Collector writes an absent body as an empty one.
        body=(record.get("body") or {"stringValue": ""})["stringValue"],
        attributes=_attributes(record),
        resource=resource,
        scope_name=scope.get("name", ""),
        scope_version=scope.get("version", ""),
        trace_id=record.get("traceId", ""),
        span_id=record.get("spanId", ""),
        flags=int(record.get("flags", 0)),
    )


def _points(metric: dict[str, Any], resource: Resource, scope: dict[str, str]) -> list[ReceivedPoint]:
    [field_name] = metric.keys() & _KINDS.keys()
    kind, data = _KINDS[field_name], metric[field_name]
    return [
        ReceivedPoint(
            name=metric["name"],
            unit=metric.get("unit", ""),
            description=metric.get("description", ""),
            kind=kind,
            temporality=int(data.get("aggregationTemporality", 0)),
            monotonic=bool(data.get("isMonotonic", False)) if kind == "sum" else None,
            attributes=_attributes(point),
            start_time_unix_nano=int(point.get("startTimeUnixNano", 0)),
            time_unix_nano=int(point.get("timeUnixNano", 0)),
            value=_number(point),
            count=int(point.get("count", 0)) if kind.endswith("histogram") else None,
            sum=_optional_float(point, "sum"),
            min=_optional_float(point, "min"),
            max=_optional_float(point, "max"),
            bucket_counts=[int(count) for count in (point.get("positive") or point).get("bucketCounts", [])],
            explicit_bounds=[float(bound) for bound in point.get("explicitBounds", [])],
            scale=int(point.get("scale", 0)) if kind == "exponential_histogram" else None,
            zero_count=int(point.get("zeroCount", 0)) if kind == "exponential_histogram" else None,
            bucket_offset=int(point.get("positive", {}).get("offset", 0)) if kind == "exponential_histogram" else None,
            resource=resource,
            scope_name=scope.get("name", ""),
            scope_version=scope.get("version", ""),
        )
        for point in data["dataPoints"]
    ]


def _number(point: dict[str, Any]) -> int | float | None:
    return int(point["asInt"]) if "asInt" in point else _optional_float(point, "asDouble")


def _optional_float(point: dict[str, Any], name: str) -> float | None:
    return float(point[name]) if name in point else None


def _resource(group: dict[str, Any]) -> Resource:
    attributes = group.get("resource", {}).get("attributes", [])
    return {item["key"]: _value(item["value"]) for item in attributes}


def _attributes(owner: dict[str, Any]) -> dict[str, Scalar]:
    attributes: dict[str, Scalar] = {}
    for item in owner.get("attributes", []):
        if item["key"] in attributes:
            raise ValueError(f"attribute {item['key']} is there twice")
        attributes[item["key"]] = _scalar(item["value"])
    return attributes


def _value(value: dict[str, Any]) -> Scalar | list[Scalar]:
    if "arrayValue" in value:
        return [_scalar(item) for item in value["arrayValue"].get("values", [])]
    return _scalar(value)


def _scalar(value: dict[str, Any]) -> Scalar:
    [(kind, content)] = value.items()
    match kind:
        case "stringValue" | "boolValue":
            return cast("str | bool", content)
        case "intValue":
            return int(content)
        case "doubleValue":
            return float(content)
        case _:
            raise ValueError(f"a value of kind {kind}")
