"""Who exports the sessions of an application: its providers, or a helper of ours (OTEL_PYTHON_TCPLIFE_EXPORT)."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.sdk.global_providers import are_providers_of_the_sdk
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


def _why_not(scope: Scope, environ: Mapping[str, str]) -> str:
    """Why a helper cannot export."""
    if scope is not Scope.PROCESS:
        return "the scope is host"
    exporters = {signal: environ.get(f"OTEL_{signal}_EXPORTER", "").strip() for signal in _SIGNALS}
    for signal, name in exporters.items():
        if name not in ("otlp", "none", ""):
            return f"OTEL_{signal}_EXPORTER is {name!r}, and the helper exports by OTLP"
    endpoints = [f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", *(f"{each}_" for each in _SIGNALS))]
    if "otlp" not in exporters.values() and not any(environ.get(name, "").strip() for name in endpoints):
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
    if _AGENT not in sys.modules or not _is_configured_by_the_distro(environ):
        return "the providers were not set up by opentelemetry-distro"
    if not are_providers_of_the_sdk():
        return "the global providers are not the SDK's own"
    if _adopts_orphans():
        return "this process becomes the parent of all orphans, so it could wait for the helper"
    return ""


def _is_configured_by_the_distro(environ: Mapping[str, str]) -> bool:
    """Whether no vendor has a configurator here that the agent may have used: it takes any one of those installed."""
    named = environ.get("OTEL_PYTHON_CONFIGURATOR")
    found = [each.value for each in entry_points(group="opentelemetry_configurator") if named in (None, each.name)]
    return bool(found) and all(value.startswith("opentelemetry.distro:") for value in found)


def _adopts_orphans() -> bool:
    """Whether it is an init: the first process of its namespace, or one that has asked for that (prctl(2))."""
    is_subreaper = ctypes.c_int()
    ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(is_subreaper), 0, 0, 0)
    return os.getpid() == 1 or bool(is_subreaper.value)
