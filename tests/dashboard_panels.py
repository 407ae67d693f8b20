"""What the dashboard shows, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_HOST = 'host_name=~"$host"'
_PER_SECOND = "($__rate_interval_ms / 1000)"


@dataclass(frozen=True)
class Query:
    """What a panel asks for, and what each line of the answer is called."""

    expression: str
    legend: str = "__auto"


@dataclass(frozen=True)
class Panel:
    """A panel with its look."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    type: str = "timeseries"
    height: int = 8
    is_instant: bool = False
    look: dict[str, Any] = field(default_factory=dict[str, Any])
    options: dict[str, Any] = field(default_factory=dict[str, Any])


def _of(metric: str, *matchers: str) -> str:
    """The series of the chosen hosts."""
    return f"{metric}{{{', '.join((_HOST, *matchers))}}}"


def _grown(metric: str, *matchers: str, over: str = "$__rate_interval") -> str:
    """How much they have grown, also those that are new."""
    return f"$grown({_of(metric, *matchers)}[{over}])"


def _total(title: str, description: str, unit: str, expression: str) -> Panel:
    """One number for the whole time that the dashboard shows."""
    options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"}
    return Panel(title, description, unit, (Query(expression, title),), "stat", 4, is_instant=True, options=options)


def _rates(title: str, description: str, unit: str, metric: str, by: str, *matchers: str) -> Panel:
    """The ten that have most, stacked."""
    expression = f"topk(10, sum by ({by}) ({_grown(metric, *matchers)})) / {_PER_SECOND}"
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return Panel(title, description, unit, (Query(expression, legend),), look=_STACKED)


def _heat_map(title: str, description: str, metric: str) -> Panel:
    query = Query(f"sum by (le) ({_grown(f'{metric}_seconds_bucket')})", "{{le}}")
    options = {"calculate": False, "yAxis": {"unit": "s"}, "color": {"scheme": "Oranges"}, "cellGap": 1}
    return Panel(title, description, "s", (query,), "heatmap", options=options)


_STACKED = {"fillOpacity": 30, "stacking": {"mode": "normal"}}
_SENT = 'network_io_direction="transmit"'
_SESSIONS = "tcplife_session_io_bytes_count"
"""Its sum over one direction is the number of sessions that ended."""
_FAILED = 'error_type!=""'
_LOST_SESSIONS = 'tcplife_outcome=~"ring_full|map_full|not_followed|unclaimed"'
_LOST_RECORDS = 'tcplife_outcome=~"rejected|dropped|damaged|unsent"'
_PLACE = "process_executable_name, server_port"

_TOTALS = (
    _total(
        "Sessions",
        "Ends of sessions and connects that ended. A session within a host has two ends there.",
        "short",
        f"sum({_grown('tcplife_probe_sessions_total', over='$__range')})",
    ),
    _total(
        "Bytes",
        "Payload that was sent, also by sessions that go on.",
        "bytes",
        f"sum({_grown('tcplife_io_bytes_total', _SENT, over='$__range')})",
    ),
    _total("Open now", "Sessions that are open and followed.", "short", f"sum({_of('tcplife_session_active')})"),
    _total(
        "Failed connects",
        "Connects that never reached ESTABLISHED.",
        "short",
        f"sum({_grown('tcplife_handshake_duration_seconds_count', _FAILED, over='$__range')}) or vector(0)",
    ),
    _total(
        "Lost",
        "Sessions that the tracer lost, and log records that did not get to a receiver. It is to be 0.",
        "short",
        f"sum({_grown('tcplife_probe_sessions_total', _LOST_SESSIONS, over='$__range')}) + "
        f"(sum({_grown('tcplife_export_records_total', _LOST_RECORDS, over='$__range')}) or vector(0))",
    ),
)

_TALKERS = (
    _rates("Bytes by process", "Sent and received.", "Bps", "tcplife_io_bytes_total", "process_executable_name"),
    _rates("Bytes by port", "Of the server's side.", "Bps", "tcplife_io_bytes_total", "server_port"),
    _rates(
        "Bytes by network of the peer",
        "Sent and received. OTEL_PYTHON_TCPLIFE_NETWORKS names networks.",
        "Bps",
        "tcplife_io_bytes_total",
        "tcplife_peer_network, network_io_direction",
    ),
)
_ENDED = (
    _rates(
        "Sessions by process", "Those that ended.", "ops", _SESSIONS, "process_executable_name, tcplife_role", _SENT
    ),
    _rates("Sessions by port", "Those that ended.", "ops", _SESSIONS, "server_port", _SENT),
    _rates("Sessions by network of the peer", "Those that ended.", "ops", _SESSIONS, "tcplife_peer_network", _SENT),
)
_TIMES = (
    _heat_map("Duration", "From ESTABLISHED to CLOSE.", "tcplife_session_duration"),
    _heat_map("Round trip time", "The kernel's smoothed one, at close.", "tcplife_session_rtt"),
    Panel(
        "Duration by port",
        "99 % of the sessions were shorter.",
        "s",
        (
            Query(
                "histogram_quantile(0.99, sum by (server_port, le) "
                f"({_grown('tcplife_session_duration_seconds_bucket')}))",
                "{{server_port}}",
            ),
        ),
    ),
)
_FAILURES = (
    _rates(
        "Failed connects",
        "By errno, program and port.",
        "ops",
        "tcplife_handshake_duration_seconds_count",
        f"error_type, {_PLACE}",
        _FAILED,
    ),
    _rates(
        "Sessions that ended with an error",
        "By errno, program and port.",
        "ops",
        "tcplife_session_duration_seconds_count",
        f"error_type, {_PLACE}",
        _FAILED,
    ),
    _rates("Retransmissions", "Segments, by program and port.", "pps", "tcplife_retransmits_total", _PLACE),
)
_OPEN = (
    Panel(
        "Open sessions",
        "By program and port. Those that no process has open have neither.",
        "short",
        (
            Query(
                f"topk(10, sum by ({_PLACE}) ({_of('tcplife_session_active')}))",
                "{{process_executable_name}} {{server_port}}",
            ),
        ),
        look=_STACKED,
    ),
    Panel(
        "Bytes of sessions that go on",
        "What open sessions have moved so far: tcplife.io less what sessions had that ended.",
        "bytes",
        (
            Query(
                f"topk(10, clamp_min(sum by ({_PLACE}) ({_of('tcplife_io_bytes_total')}) - "
                f"(sum by ({_PLACE}) ({_of('tcplife_session_io_bytes_sum')}) or "
                f"sum by ({_PLACE}) ({_of('tcplife_io_bytes_total')}) * 0), 0))",
                "{{process_executable_name}} {{server_port}}",
            ),
        ),
    ),
)
_BALANCE = (
    Panel(
        "What became of sessions",
        "Their sum is what the kernel saw. All but submitted and filtered are losses.",
        "short",
        (Query(f"sum by (tcplife_outcome) ({_grown('tcplife_probe_sessions_total')})", "{{tcplife_outcome}}"),),
        look=_STACKED,
    ),
    Panel(
        "What became of log records",
        "For each exporter, their sum is what was submitted, less what waits.",
        "short",
        (
            Query(
                f"sum by (tcplife_exporter, tcplife_outcome) ({_grown('tcplife_export_records_total')})",
                "{{tcplife_exporter}} {{tcplife_outcome}}",
            ),
        ),
        look=_STACKED,
    ),
    Panel(
        "Metrics at their limit",
        "Data points that take what is over the 2,000 attribute sets of a metric. It is to be empty.",
        "short",
        (
            Query(
                f'count by (__name__) ({{__name__=~"tcplife_.*_(count|total)", otel_metric_overflow="true", {_HOST}}})',
                "{{__name__}}",
            ),
        ),
    ),
)
_ITSELF = (
    Panel(
        "Queue",
        "The share of the queue in memory that is full.",
        "percentunit",
        (
            Query(
                f"max by (host_name) ({_of('otel_sdk_processor_log_queue_size')} / "
                f"{_of('otel_sdk_processor_log_queue_capacity')})",
                "queue {{host_name}}",
            ),
        ),
    ),
    Panel(
        "Spool",
        "How long the oldest request has waited on disk.",
        "s",
        (Query(f"max by (host_name) ({_of('tcplife_spool_age_seconds')})", "{{host_name}}"),),
    ),
    Panel(
        "Cost",
        "CPU time of the tracer, of one core.",
        "percentunit",
        (Query(f"sum by (host_name) ({_grown('process_cpu_time_seconds_total')}) / {_PER_SECOND}", "{{host_name}}"),),
    ),
    Panel(
        "Memory",
        "Resident memory of the tracer.",
        "bytes",
        (Query(f"sum by (host_name) ({_of('process_memory_usage_bytes')})", "{{host_name}}"),),
    ),
)

ROWS = (
    ("In this time", _TOTALS),
    ("Who moves bytes", _TALKERS),
    ("Sessions that ended", _ENDED),
    ("How long", _TIMES),
    ("What fails", _FAILURES),
    ("Sessions that go on", _OPEN),
    ("Is anything lost", _BALANCE),
    ("otel-tcplife itself", _ITSELF),
)
