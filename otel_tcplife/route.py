"""Who exports the sessions of an application: its providers, or a helper of ours (OTEL_PYTHON_TCPLIFE_EXPORT)."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points

from otel_tcplife.errors import BadUsage, CannotTrace
from otel_tcplife.export.sdk.global_providers import are_providers_of_the_sdk, is_any_set_up
from otel_tcplife.option import Scope
from otel_tcplife.plugin_options import EXPORT, Export
from otel_tcplife.probe.interpreters import this_interpreter

_SIGNALS = ("LOGS", "METRICS")
_AGENT = "opentelemetry.instrumentation.auto_instrumentation"
_LIMITS = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)
"""What the providers do to records, and the helper does not."""
_PR_GET_CHILD_SUBREAPER = 37

_SET_UP = (
    "pip install opentelemetry-distro opentelemetry-exporter-otlp (or otel-tcplife[agent]) and run the application "
    "under opentelemetry-instrument, or set the providers up before"
)


def why_providers(
    export: Export, scope: Scope, *, given_providers: bool, environ: Mapping[str, str] = os.environ
) -> str:
    """Why the providers are to export, empty where the helper is. Raise BadUsage where it is asked for and cannot."""
    if export is Export.PROVIDERS:
        return f"{EXPORT.variable}=providers"
    cannot = _why_not(scope, environ)
    if export is Export.AUTO:
        return cannot or _why_not_the_same(given_providers, environ)
    if cannot:
        raise BadUsage(f"{EXPORT.variable}=helper cannot be: {cannot}", "leave it out, or set it to providers")
    return ""


def refuse_where_nothing_is_exported(*, given_providers: bool, environ: Mapping[str, str] = os.environ) -> None:
    """Raise CannotTrace where the providers of the application lead nowhere, as far as that is known."""
    if given_providers:
        return
    if not is_any_set_up():
        raise CannotTrace("no OpenTelemetry SDK is set up here, so nothing would be exported", _SET_UP)
    exporters = {environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() for signal in _SIGNALS}
    if exporters <= {"none", ""} and _is_set_up_by_the_distro(environ) and not environ.get("OTEL_CONFIG_FILE"):
        raise CannotTrace("neither logs nor metrics are exported", "set OTEL_LOGS_EXPORTER or OTEL_METRICS_EXPORTER")


def _why_not(scope: Scope, environ: Mapping[str, str]) -> str:
    """Why a helper cannot export."""
    if scope is not Scope.PROCESS:
        return "the scope is host"
    exporters = {signal: environ.get(f"OTEL_{signal}_EXPORTER", "").strip() for signal in _SIGNALS}
    for signal, name in exporters.items():
        if name not in ("otlp", "none", ""):
            return f"OTEL_{signal}_EXPORTER is {name!r}, and the helper exports by OTLP"
    endpoints = [f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", *(f"{each}_" for each in _SIGNALS))]
    has_endpoint = "" in exporters.values() and any(environ.get(name, "").strip() for name in endpoints)
    if "otlp" not in exporters.values() and not has_endpoint:
        return "no OTLP exporter is configured"
    return "" if this_interpreter() else f"{sys.executable} is no Python to run it"


def _why_not_the_same(given_providers: bool, environ: Mapping[str, str]) -> str:
    """Why a helper would not do the same as the providers, or would be in the way of the application."""
    if given_providers:
        return "the application gives its own providers"
    for variable in ("OTEL_CONFIG_FILE", *_LIMITS):
        if environ.get(variable, "").strip():
            return f"{variable} is set"
    for signal in _SIGNALS:
        if not environ.get(f"OTEL_{signal}_EXPORTER", "").strip():
            return f"OTEL_{signal}_EXPORTER is not set"
    if not _is_set_up_by_the_distro(environ):
        return "the providers were not set up by opentelemetry-distro"
    if not are_providers_of_the_sdk():
        return "the global providers are not the SDK's own"
    if _adopts_orphans():
        return "this process becomes the parent of all orphans, so it could wait for the helper"
    return ""


def _is_set_up_by_the_distro(environ: Mapping[str, str]) -> bool:
    """Whether no vendor has a configurator here that the agent may have used: it takes any one of those installed."""
    if _AGENT not in sys.modules:
        return False
    named = environ.get("OTEL_PYTHON_CONFIGURATOR")
    found = [each.value for each in entry_points(group="opentelemetry_configurator") if named in (None, each.name)]
    return bool(found) and all(value.startswith("opentelemetry.distro:") for value in found)


def _adopts_orphans() -> bool:
    """Whether it is an init: the first process of its namespace, or one that has asked for that (prctl(2))."""
    is_subreaper = ctypes.c_int()
    ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(is_subreaper), 0, 0, 0)
    return os.getpid() == 1 or bool(is_subreaper.value)
