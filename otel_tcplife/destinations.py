"""Where the telemetry goes: --otlp-file, the standard OTEL_* variables, or else the embedded default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from otel_tcplife.export.otlp_config import Signal

DEFAULT_DIRECTORY = "./otel-tcplife-data"


@dataclass(frozen=True)
class Destinations:
    """Names of the exporters of each signal, and the directory of OTLP files if there is one."""

    logs: tuple[str, ...]
    metrics: tuple[str, ...]
    directory: str | None


def destinations(otlp_file: str | None, environ: Mapping[str, str] = os.environ) -> Destinations:
    """OTEL_LOGS_EXPORTER and OTEL_METRICS_EXPORTER; without them, OTLP where an endpoint is set.

    Where no signal has anywhere to go, all that are wanted go to files in DEFAULT_DIRECTORY.
    """
    logs, metrics = _exporters("logs", environ), _exporters("metrics", environ)
    wanted = [exporters for exporters in (logs, metrics) if exporters != ("none",)]
    is_default = otlp_file is None and bool(wanted) and not any(wanted)
    return Destinations(logs, metrics, DEFAULT_DIRECTORY if is_default else otlp_file)


def _exporters(signal: Signal, environ: Mapping[str, str]) -> tuple[str, ...]:
    named = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    exporters = tuple(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))
    if exporters:
        return exporters
    variables = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return ("otlp",) if any(environ.get(variable, "").strip() for variable in variables) else ()
