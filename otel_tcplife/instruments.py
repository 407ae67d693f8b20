"""The telemetry contract: every metric, its unit, meaning and bounds, and what each session adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from otel_tcplife.attribute import Attribute, Definition
from otel_tcplife.columns import NumericColumn
from otel_tcplife.conventions import ATTRIBUTES
from otel_tcplife.session_columns import SessionColumns


@dataclass(frozen=True)
class Measurement:
    """Values that a batch adds to a histogram, under these attributes besides METRIC_ATTRIBUTES."""

    values: Callable[[SessionColumns], NumericColumn]
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class SessionMetric:
    """A metric, and what each session adds to it."""

    name: str
    unit: str
    brief: str
    measurements: tuple[Measurement, ...]
    attributes: tuple[Attribute, ...]
    """Those of each data point, besides what a measurement has."""


@dataclass(frozen=True)
class HistogramMetric(SessionMetric):
    """A histogram: a session adds to it when it ends."""

    bounds: tuple[float, ...]


class SumMetric(SessionMetric):
    """A counter: a session adds to it when it ends, and before that at each scan of the open ones."""


@dataclass(frozen=True)
class CounterMetric:
    """A sum, kept by the tracer and observed by the exporter."""

    name: str
    unit: str
    brief: str
    monotonic: bool = True
    attributes: tuple[Definition, ...] = field(default=(), compare=False)

    @property
    def instrument(self) -> str:
        """As the semantic conventions call it."""
        return "counter" if self.monotonic else "updowncounter"


SERVER_PORT = Attribute(
    "server.port",
    "int",
    "port of the server's side of the session, where it is not an ephemeral one",
    lambda columns: columns.server_port,
)

_SHARED = ("network.type", "tcplife.peer.network", "tcplife.role", "process.executable.name", "error.type")
METRIC_ATTRIBUTES = (*(attribute for attribute in ATTRIBUTES if attribute.name in _SHARED), SERVER_PORT)
"""Attributes of the histograms: few and bounded."""
CONNECT_ATTRIBUTES = tuple(
    replace(attribute, column=SessionColumns.connect_error_column) if attribute.name == "error.type" else attribute
    for attribute in METRIC_ATTRIBUTES
)
"""The same, where the error is that of a connect that failed, and not what a session ended with."""

DURATION_BOUNDS = (
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
    3600.0,
)  # fmt: skip
ROUND_TRIP_BOUNDS = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0,
)  # fmt: skip
"""Round trips within a host take some 10 us, and within a data centre some 100 us."""
SIZE_BOUNDS = (0.0, *(float(4**power) for power in range(3, 17)))

HISTOGRAMS = (
    HistogramMetric(
        "tcplife.session.duration",
        "s",
        "Time from ESTABLISHED to CLOSE.",
        (Measurement(lambda columns: columns.seconds("duration")),),
        METRIC_ATTRIBUTES,
        DURATION_BOUNDS,
    ),
    HistogramMetric(
        "tcplife.session.io",
        "By",
        "Payload bytes of a session.",
        (
            Measurement(
                lambda columns: columns.number("bytes_sent", columns.sessions), {"network.io.direction": "transmit"}
            ),
            Measurement(
                lambda columns: columns.number("bytes_received", columns.sessions), {"network.io.direction": "receive"}
            ),
        ),
        METRIC_ATTRIBUTES,
        SIZE_BOUNDS,
    ),
    HistogramMetric(
        "tcplife.handshake.duration",
        "s",
        "Time to ESTABLISHED, or to the failure of the connect.",
        (Measurement(lambda columns: columns.seconds("handshake")),),
        CONNECT_ATTRIBUTES,
        ROUND_TRIP_BOUNDS,
    ),
    HistogramMetric(
        "tcplife.session.rtt",
        "s",
        "Smoothed round trip time at close.",
        (Measurement(lambda columns: columns.round_trip("rtt_smoothed")),),
        METRIC_ATTRIBUTES,
        ROUND_TRIP_BOUNDS,
    ),
)

TRAFFIC_ATTRIBUTES = tuple(attribute for attribute in METRIC_ATTRIBUTES if attribute.name != "error.type")
"""The same without what is known only of a session that has ended."""
SUMS = (
    SumMetric(
        "tcplife.io",
        "By",
        "Payload bytes, also of sessions that go on.",
        (
            Measurement(lambda columns: columns.growth("bytes_sent"), {"network.io.direction": "transmit"}),
            Measurement(lambda columns: columns.growth("bytes_received"), {"network.io.direction": "receive"}),
        ),
        TRAFFIC_ATTRIBUTES,
    ),
    SumMetric(
        "tcplife.retransmits",
        "{segment}",
        "Segments retransmitted, also of sessions that go on and of connects that failed.",
        (Measurement(lambda columns: columns.growth("retransmits", columns.batch["retransmits"] != 0)),),
        TRAFFIC_ATTRIBUTES,
    ),
)

_ACTIVE = ("tcplife.role", "process.executable.name", "server.port")
ACTIVE_ATTRIBUTES = tuple(attribute for attribute in METRIC_ATTRIBUTES if attribute.name in _ACTIVE)
"""Of ACTIVE, where a process has the socket open; the others of the host are in the data point without attributes."""
ACTIVE = CounterMetric(
    "tcplife.session.active",
    "{session}",
    "Sessions now open and followed.",
    monotonic=False,
    attributes=ACTIVE_ATTRIBUTES,
)
OUTCOME = "tcplife.outcome"
EXPORTER = "tcplife.exporter"


def _outcome(*members: str) -> Definition:
    return Definition(OUTCOME, "string", "what became of sessions and connects, or of log records", members=members)


PROBE_SESSIONS = CounterMetric(
    "tcplife.probe.sessions",
    "{session}",
    "Sessions and connects that ended, by outcome.",
    attributes=(_outcome("submitted", "filtered", "ring_full", "map_full", "not_followed", "unclaimed", "unreadable"),),
)
EXPORT_RECORDS = CounterMetric(
    "tcplife.export.records",
    "{record}",
    "Log records, by what became of them.",
    attributes=(
        Definition(EXPORTER, "string", "which of the ways out the log records took", examples=("otlp", "file")),
        _outcome("exported", "rejected", "dropped", "disabled", "unselected", "spooled", "damaged", "unsent"),
    ),
)
COUNTERS = (ACTIVE, PROBE_SESSIONS, EXPORT_RECORDS)

CARDINALITY_LIMIT = 2000
"""Attribute sets of a metric, the one that takes what is over included (metrics SDK specification)."""
OVERFLOW_ATTRIBUTE = Definition(
    "otel.metric.overflow",
    "boolean",
    "`true` for what is over the limit of attribute sets; the metrics SDK specification defines it",
)
OVERFLOW: dict[str, str | bool | int | float] = {OVERFLOW_ATTRIBUTE.name: True}
