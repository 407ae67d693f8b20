"""Where each signal goes, for every combination of what can be set."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.config import Signal
from otel_tcplife.pipeline.chosen_exporters import DEFAULT_DIRECTORY, ChosenExporters, chosen_exporters

COMMON = "OTEL_EXPORTER_OTLP_ENDPOINT"
ENDPOINTS = [COMMON, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]
EXPORTERS = [None, "", "otlp", "none", "console", "otlp,console"]


def _expected(signal: Signal, exporter: str | None, endpoints: tuple[str, ...]) -> tuple[str, ...]:
    if exporter:
        return tuple(exporter.split(","))
    return ("otlp",) if {COMMON, f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"} & {*endpoints} else ()


@pytest.mark.parametrize("logs", EXPORTERS)
@pytest.mark.parametrize("metrics", EXPORTERS)
@pytest.mark.parametrize("otlp_file", [None, "dir"])
def test_all_combinations(logs: str | None, metrics: str | None, otlp_file: str | None) -> None:
    named = {"OTEL_LOGS_EXPORTER": logs, "OTEL_METRICS_EXPORTER": metrics}
    exporters = {variable: value for variable, value in named.items() if value is not None}
    for endpoints in chain.from_iterable(combinations(ENDPOINTS, count) for count in range(len(ENDPOINTS) + 1)):
        found = chosen_exporters(otlp_file, {**exporters, **dict.fromkeys(endpoints, "http://c:4318")})
        ways = _expected("logs", logs, endpoints), _expected("metrics", metrics, endpoints)
        assert (found.logs, found.metrics) == ways
        if otlp_file:
            assert found.directory == otlp_file
        elif set(ways) in ({()}, {(), ("none",)}):
            assert found.directory == DEFAULT_DIRECTORY
        else:
            assert found.directory is None


def test_the_embedded_default() -> None:
    assert chosen_exporters(None, {}) == ChosenExporters((), (), "./otel-tcplife-data")


@pytest.mark.parametrize("variable", ["OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER"])
def test_one_signal_that_is_not_wanted_leaves_the_other_one_its_default(variable: str) -> None:
    assert chosen_exporters(None, {variable: "none"}).directory == DEFAULT_DIRECTORY


def test_nothing_is_wanted() -> None:
    environ = {"OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", COMMON: "http://c:4318"}
    assert chosen_exporters(None, environ) == ChosenExporters(("none",), ("none",), None)


@pytest.mark.parametrize(
    ("text", "exporters"),
    [(" otlp , console ,", ("otlp", "console")), ("console,otlp,console", ("console", "otlp")), (" , ", ())],
)
def test_lists_of_exporters(text: str, exporters: tuple[str, ...]) -> None:
    assert chosen_exporters(None, {"OTEL_LOGS_EXPORTER": text}).logs == exporters


def test_an_endpoint_of_spaces_is_none() -> None:
    assert chosen_exporters(None, {COMMON: " "}) == chosen_exporters(None, {})


@pytest.mark.parametrize("value", ["true", "TRUE", " True "])
@pytest.mark.parametrize("otlp_file", [None, "dir"])
def test_a_disabled_sdk_exports_nothing(value: str, otlp_file: str | None) -> None:
    environ = {"OTEL_SDK_DISABLED": value, COMMON: "http://c:4318", "OTEL_LOGS_EXPORTER": "console"}
    assert chosen_exporters(otlp_file, environ) == ChosenExporters(("none",), ("none",), None, is_disabled=True)


@pytest.mark.parametrize("value", ["", " ", "false", "False"])
def test_an_sdk_that_is_not_disabled(value: str) -> None:
    assert chosen_exporters("dir", {"OTEL_SDK_DISABLED": value}) == ChosenExporters((), (), "dir")


def test_whether_the_sdk_is_disabled_must_be_clear() -> None:
    with pytest.raises(BadUsage) as raised:
        chosen_exporters(None, {"OTEL_SDK_DISABLED": "yes"})
    assert str(raised.value) == "OTEL_SDK_DISABLED='yes' is neither true nor false; use one of these, or unset it"
