"""Which exporters are chosen: by an agent, --otlp-file, the standard OTEL_* variables, or else by default."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from otel_tcplife.export.otlp.config import Signal
from otel_tcplife.standard_variables import is_sdk_disabled

DEFAULT_DIRECTORY = "./otel-tcplife-data"
OTLP, FILE, NONE = "otlp", "file", "none"


@dataclass(frozen=True)
class ChosenExporters:
    """Names of the exporters of each signal, and the directory of OTLP files if there is one."""

    logs: tuple[str, ...]
    metrics: tuple[str, ...]
    directory: str | None
    agent: bool = False
    """Whether both go to the providers of the OpenTelemetry agent that runs this process."""
    is_disabled: bool = False
    """Whether nothing goes anywhere because the user has said so for all SDKs."""


def chosen_exporters(otlp_file: str | None, environ: Mapping[str, str] = os.environ) -> ChosenExporters:
    """OTEL_LOGS_EXPORTER and OTEL_METRICS_EXPORTER; without them, OTLP where an endpoint is set.

    To an agent, if `opentelemetry-instrument` runs us: these variables are meant for it. Where no signal has anywhere
    to go, all that are wanted go to files in DEFAULT_DIRECTORY. With OTEL_SDK_DISABLED=true nothing goes anywhere.
    Raise BadUsage where that is neither true nor false.
    """
    if is_sdk_disabled(environ):
        return ChosenExporters((NONE,), (NONE,), None, is_disabled=True)
    if _has_agent():
        return ChosenExporters((NONE,), (NONE,), otlp_file, agent=True)
    logs, metrics = _exporters("logs", environ), _exporters("metrics", environ)
    wanted = [exporters for exporters in (logs, metrics) if exporters != (NONE,)]
    is_default = otlp_file is None and bool(wanted) and not any(wanted)
    return ChosenExporters(logs, metrics, DEFAULT_DIRECTORY if is_default else otlp_file)


def _has_agent() -> bool:
    """Whether an agent was loaded before us, and has set its providers up."""
    if "opentelemetry.instrumentation.auto_instrumentation" not in sys.modules:
        return False
    from otel_tcplife.export.sdk.global_providers import has_global_providers

    return has_global_providers()


def _exporters(signal: Signal, environ: Mapping[str, str]) -> tuple[str, ...]:
    named = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    exporters = tuple(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))
    if exporters:
        return exporters
    variables = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return (OTLP,) if any(environ.get(variable, "").strip() for variable in variables) else ()
