"""A wall clock that is set while the command runs: nothing is lost or waits for long, and no time span is negative."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.faults import stepping_clock_main
from tests.faults.balance import check_balance, read_balance
from tests.faults.http_answers import away
from tests.faults.metrics import counted_sessions, points
from tests.faults.receiving import HttpScripted, Script
from tests.faults.replaying import Replaying
from tests.support.otlp_receiver import Request

_DAY = 86400 * 10**9
_STEPS = {"a day back": -_DAY, "a day on": _DAY, "on and back": _DAY}


def _are_in_order(requests: Iterable[Request]) -> None:
    spans = [(point.start_time_unix_nano, point.time_unix_nano) for point in points(requests)]
    assert spans
    assert all(0 < start <= end for start, end in spans)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("step", _STEPS)
def test_nothing_is_lost(step: str, temporality: str, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_bytes(bytes(8))

    def set_clock(offset: int) -> None:
        with clock.open("r+b") as file:
            file.write(struct.pack("q", offset))

    with HttpScripted(Script(away=away)) as receiver:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
            "OTEL_METRIC_EXPORT_INTERVAL": "20",
            "OTEL_PYTHON_TCPLIFE_SPOOL": str(tmp_path / "spool"),
        }
        program = [sys.executable, stepping_clock_main.__file__, str(clock)]
        with Replaying(env, command=program) as command:
            command.feed(range(500), header=True)
            command.wait_until(lambda: counted_sessions([*receiver.requests], by_start=False) == 500)
            set_clock(_STEPS[step])
            command.feed(range(500, 1000))
            command.wait_until(lambda: counted_sessions([*receiver.requests], by_start=False) == 1000)
            set_clock(0 if step == "on and back" else _STEPS[step])
            receiver.script.away = None
            command.feed(range(1000, 1500))
            command.wait_until(lambda: len(receiver.script.acknowledged) == 1500)
            assert command.end() == 0
    check_balance([read_balance(command.said)], receiver.script.acknowledged)
    assert receiver.script.acknowledged == [*range(1500)]
    # A cumulative series goes on where the clock is set to before it began: then it has begun earlier
    assert counted_sessions(receiver.requests, by_start=False) == 1500
    _are_in_order(receiver.requests)
