"""What a receiver knows from the metrics that it has taken, over all runs of the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)

from tests.support.otlp_receiver import Request

_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA

_Series = tuple[frozenset[tuple[str, str]], int]
"""The attributes, and when a cumulative series began."""


class SessionCounter:
    """How many sessions the histograms of duration have, over all requests added."""

    def __init__(self, *, by_start: bool = True) -> None:
        """With `by_start`, what begins at another time is another cumulative series, as that of another run is."""
        self._by_start = by_start
        self._delta = 0
        self._cumulative: dict[_Series, int] = {}

    @property
    def total(self) -> int:
        """Sessions counted so far."""
        return self._delta + sum(self._cumulative.values())

    def add(self, request: Request) -> None:
        """Add what a request of metrics has."""
        for metric in _metrics([request], "tcplife.session.duration"):
            for point in metric.histogram.data_points:
                if metric.histogram.aggregation_temporality == _DELTA:
                    self._delta += point.count
                else:
                    start = point.start_time_unix_nano if self._by_start else 0
                    key = frozenset((each.key, str(each.value)) for each in point.attributes), start
                    assert point.count >= self._cumulative.get(key, 0), "a cumulative count went back"
                    self._cumulative[key] = point.count


def counted_sessions(requests: Iterable[Request], *, by_start: bool = True) -> int:
    """As SessionCounter."""
    counter = SessionCounter(by_start=by_start)
    for request in requests:
        counter.add(request)
    return counter.total


def booked(requests: Sequence[Request], sink: str = "otlp") -> Counter[str]:
    """Records of the sink, by what has become of them, as the last metrics have it, which must be cumulative."""
    return _outcomes(requests, "tcplife.export.records", {"tcplife.exporter": sink})


def probed(requests: Sequence[Request]) -> Counter[str]:
    """Sessions by what has become of them before any sink, as the last metrics have it."""
    return _outcomes(requests, "tcplife.probe.sessions", {})


def _outcomes(requests: Sequence[Request], name: str, wanted: dict[str, str]) -> Counter[str]:
    outcomes = Counter[str]()
    for request in reversed(requests):
        for metric in _metrics([request], name):
            for point in metric.sum.data_points:
                attributes = {each.key: each.value.string_value for each in point.attributes}
                if wanted.items() <= attributes.items():
                    outcomes[attributes["tcplife.outcome"]] = point.as_int
            return outcomes
    return outcomes


def waiting(requests: Sequence[Request]) -> int:
    """How many more records wait in the spool than when the command was started, as the last metrics have it."""
    return booked(requests)["spooled"] - sum(booked(requests, "otlp_spool").values())


def points(requests: Iterable[Request]) -> Iterable[HistogramDataPoint | NumberDataPoint]:
    """All data points."""
    for metric in _metrics(requests):
        yield from metric.histogram.data_points
        yield from metric.sum.data_points


def _metrics(requests: Iterable[Request], name: str = "") -> Iterable[Metric]:
    for request in [each for each in requests if each.signal == "metrics"]:
        message = ExportMetricsServiceRequest.FromString(request.content)
        for resource_metrics in message.resource_metrics:
            for scope_metrics in resource_metrics.scope_metrics:
                yield from (metric for metric in scope_metrics.metrics if name in (metric.name, ""))
