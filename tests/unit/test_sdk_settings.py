"""The variables that the SDK reads for exporters other than OTLP."""

from __future__ import annotations

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.sdk.settings import (
    BatchLimits,
    batch_limits,
    check_exemplar_filter,
    check_providers,
    check_record_limits,
)

QUEUE, BATCH = "OTEL_BLRP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"


@pytest.mark.parametrize(
    ("environ", "limits"),
    [
        ({}, BatchLimits(1000, 2048, 512, 30000)),
        ({QUEUE: " ", BATCH: ""}, BatchLimits(1000, 2048, 512, 30000)),
        ({QUEUE: "100"}, BatchLimits(1000, 100, 100, 30000)),
        ({QUEUE: "100", BATCH: "7"}, BatchLimits(1000, 100, 7, 30000)),
        ({BATCH: "2048"}, BatchLimits(1000, 2048, 2048, 30000)),
        (
            {"OTEL_BLRP_SCHEDULE_DELAY": " 5 ", "OTEL_BLRP_EXPORT_TIMEOUT": "86400000"},
            BatchLimits(5, 2048, 512, 86400000),
        ),
    ],
)
def test_batch_limits(environ: dict[str, str], limits: BatchLimits) -> None:
    assert batch_limits(environ) == limits


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({QUEUE: "0"}, f"{QUEUE}='0' is no number that it can be; give a whole number from 1 to 16777216"),
        (
            {"OTEL_BLRP_SCHEDULE_DELAY": "1e3"},
            "OTEL_BLRP_SCHEDULE_DELAY='1e3' is no number that it can be; give a whole number from 1 to 86400000",
        ),
        (
            {QUEUE: "100", BATCH: "512"},
            f"{BATCH} is 512, more than the queue holds; give at most 100, or a larger {QUEUE}",
        ),
        ({BATCH: "4096"}, f"{BATCH} is 4096, more than the queue holds; give at most 2048, or a larger {QUEUE}"),
    ],
)
def test_bad_batch_limits(environ: dict[str, str], line: str) -> None:
    with pytest.raises(BadUsage) as raised:
        batch_limits(environ)
    assert str(raised.value) == line


@pytest.mark.parametrize("value", ["-1", "1.5", "many", "9" * 30, "\u0665"])
def test_bad_record_limits(value: str) -> None:
    with pytest.raises(BadUsage, match=r"^OTEL_ATTRIBUTE_COUNT_LIMIT='.*' is no number that it can be; "):
        check_record_limits({"OTEL_ATTRIBUTE_COUNT_LIMIT": value})


def test_good_record_limits() -> None:
    check_record_limits({"OTEL_ATTRIBUTE_COUNT_LIMIT": "0", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": " "})


def test_exemplar_filter() -> None:
    check_exemplar_filter({"OTEL_METRICS_EXEMPLAR_FILTER": "always_off"})
    with pytest.raises(BadUsage, match=r"^OTEL_METRICS_EXEMPLAR_FILTER='some' is not known; use one of trace_based, "):
        check_exemplar_filter({"OTEL_METRICS_EXEMPLAR_FILTER": "some"})


def test_providers() -> None:
    check_providers({"OTEL_PYTHON_METER_PROVIDER": "sdk_meter_provider", "OTEL_PYTHON_LOGGER_PROVIDER": ""})
    with pytest.raises(BadUsage, match=r"^OTEL_PYTHON_METER_PROVIDER='mine' is not installed; use one of "):
        check_providers({"OTEL_PYTHON_METER_PROVIDER": "mine"})
