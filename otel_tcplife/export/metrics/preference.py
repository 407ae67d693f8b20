"""How the user wants metrics aggregated: the standard OTEL_EXPORTER_OTLP_METRICS_* preferences."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from otel_tcplife.errors import BadUsage

_TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_AGGREGATION = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"


@dataclass(frozen=True)
class Preference:
    """Delta or cumulative temporality, exponential or explicit buckets."""

    delta_histograms: bool = False
    delta_counters: bool = False
    exponential: bool = False


def metric_preference(environ: Mapping[str, str] = os.environ) -> Preference:
    """The preference of the environment (metrics exporters, OTLP). Raise BadUsage for a value that is none."""
    temporality = _choice(environ, _TEMPORALITY, ("cumulative", "delta", "lowmemory"))
    aggregation = _choice(environ, _AGGREGATION, ("explicit_bucket_histogram", "base2_exponential_bucket_histogram"))
    return Preference(
        delta_histograms=temporality != "cumulative",
        # lowmemory leaves asynchronous counters, which ours are, as they are kept: cumulative
        delta_counters=temporality == "delta",
        exponential=aggregation == "base2_exponential_bucket_histogram",
    )


def _choice(environ: Mapping[str, str], variable: str, choices: tuple[str, ...]) -> str:
    """The value, in lower case; the first choice where the variable is not set."""
    value = environ.get(variable, "").strip().lower() or choices[0]
    if value not in choices:
        raise BadUsage(f"{variable}={value!r} is not known", f"use one of {', '.join(choices)}")
    return value
