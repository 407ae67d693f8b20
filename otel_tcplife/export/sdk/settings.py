"""Variables of the SDK's own processors and readers, for exporters other than OTLP: checked before it reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

from otel_tcplife.errors import BadUsage

_ATTRIBUTE_LIMITS = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)
_PROVIDERS = {
    "OTEL_PYTHON_LOGGER_PROVIDER": "opentelemetry_logger_provider",
    "OTEL_PYTHON_METER_PROVIDER": "opentelemetry_meter_provider",
}
"""Global providers, which the SDK looks for to report on itself: the variable and the group of their entry points."""
_EXEMPLAR_FILTER = "OTEL_METRICS_EXEMPLAR_FILTER"
_EXEMPLAR_FILTERS = ("trace_based", "always_on", "always_off")

_MOST_RECORDS = 1 << 24
_MOST_MILLISECONDS = 86_400_000
_MOST_ATTRIBUTES = (1 << 31) - 1


@dataclass(frozen=True)
class BatchLimits:
    """Those of the SDK's batch processor, in ms and records ("Environment Variable Specification")."""

    schedule_delay: int
    max_queue_size: int
    max_export_batch_size: int
    export_timeout: int


def batch_limits(environ: Mapping[str, str] = os.environ) -> BatchLimits:
    """OTEL_BLRP_*; where the queue alone is set, a batch is no larger. Raise BadUsage for what cannot be."""

    def number(option: str, default: int, most: int) -> int:
        return _whole(environ, f"OTEL_BLRP_{option}", default, 1, most)

    queue = number("MAX_QUEUE_SIZE", 2048, _MOST_RECORDS)
    batch = number("MAX_EXPORT_BATCH_SIZE", min(512, queue), _MOST_RECORDS)
    if batch > queue:
        raise BadUsage(
            f"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE is {batch}, more than the queue holds",
            f"give at most {queue}, or a larger OTEL_BLRP_MAX_QUEUE_SIZE",
        )
    return BatchLimits(
        number("SCHEDULE_DELAY", 1000, _MOST_MILLISECONDS),
        queue,
        batch,
        number("EXPORT_TIMEOUT", 30000, _MOST_MILLISECONDS),
    )


def check_record_limits(environ: Mapping[str, str] = os.environ) -> None:
    """Raise BadUsage for a limit of attributes that the SDK could not take."""
    for variable in _ATTRIBUTE_LIMITS:
        _whole(environ, variable, 0, 0, _MOST_ATTRIBUTES)


def check_exemplar_filter(environ: Mapping[str, str] = os.environ) -> None:
    """Raise BadUsage for one that there is not."""
    value = environ.get(_EXEMPLAR_FILTER, "")
    if value and value not in _EXEMPLAR_FILTERS:
        raise BadUsage(f"{_EXEMPLAR_FILTER}={value!r} is not known", f"use one of {', '.join(_EXEMPLAR_FILTERS)}")


def check_providers(environ: Mapping[str, str] = os.environ) -> None:
    """Raise BadUsage for the name of a global provider that there is not."""
    for variable, group in _PROVIDERS.items():
        name = environ.get(variable, "").strip()
        if name and not list(entry_points(group=group, name=name)):
            installed = sorted({entry.name for entry in entry_points(group=group)})
            raise BadUsage(f"{variable}={name!r} is not installed", f"use one of {', '.join(installed)}, or unset it")


def _whole(environ: Mapping[str, str], variable: str, default: int, least: int, most: int) -> int:
    text = environ.get(variable, "").strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 20 and least <= int(text) <= most:
        return int(text)
    raise BadUsage(f"{variable}={text!r} is no number that it can be", f"give a whole number from {least} to {most}")
