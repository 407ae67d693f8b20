"""The options that say how the plugin works: rows of the table in options.py.

An application reads these before it has decided who exports: this imports neither NumPy nor OpenTelemetry.
"""

from __future__ import annotations

from enum import Enum

from otel_tcplife.errors import BadUsage
from otel_tcplife.option import Option, Scope, in_any_scope


class Export(Enum):
    """Who exports the sessions of an application."""

    AUTO = "auto"
    """The helper where that exports the same as the providers would, else the providers."""
    HELPER = "helper"
    """A process of our own, by OTLP."""
    PROVIDERS = "providers"
    """The logger and meter providers of the application."""


def _parse_scope(text: str) -> Scope:
    try:
        return Scope(text.strip().lower())
    except ValueError:
        raise BadUsage(f"unknown scope {text!r}", "use process or host") from None


def _parse_export(text: str) -> Export:
    try:
        return Export(text.strip().lower())
    except ValueError:
        raise BadUsage(f"unknown way to export {text!r}", "use auto, helper or providers") from None


SCOPE = Option("scope", _parse_scope, in_any_scope(Scope.PROCESS), "of the plugin: `process` or `host`")
EXPORT = Option(
    "export",
    _parse_export,
    in_any_scope(Export.AUTO),
    "of the plugin, of scope `process`: `helper` to export by a process of its own, `providers` by the application's "
    "providers, `auto` for the helper where the agent exports by OTLP alone",
    default_text="auto",
)
