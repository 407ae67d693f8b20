"""Credentials that a package makes, by OTEL_PYTHON_EXPORTER_OTLP_*_CREDENTIAL_PROVIDER: for logs as for metrics."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TypeVar

from otel_tcplife.export.otlp.endpoint import error_line
from otel_tcplife.export.otlp.setting import Setting

_GROUP = "opentelemetry_otlp_credential_provider"

Credentials = TypeVar("Credentials")


def load_credentials(provider: Setting, kind: type[Credentials]) -> Credentials:
    """What the entry point of this name makes, of this kind. Raise BadUsage where it cannot."""
    try:
        found = next(iter(entry_points(group=_GROUP, name=provider.value)), None)
        made = found.load()() if found else None
    except Exception as error:
        raise provider.bad(
            f"cannot be used: {error_line(error)}", "mend the package that has it, or unset it"
        ) from error
    if not found:
        installed = sorted({entry.name for entry in entry_points(group=_GROUP)})
        remedy = f"use one of {', '.join(installed)}" if installed else "install the package that has it, or unset it"
        raise provider.bad("is no installed credential provider", remedy)
    if not isinstance(made, kind):
        problem = f"makes a {type(made).__name__} where a {kind.__name__} is needed"
        raise provider.bad(problem, "name one for this protocol")
    return made
