"""The host agent in a time namespace, whose clock of uptime is another one than the host's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.host_agent import HostAgent
from tests.support.origin import Origin, unix_ns
from tests.support.received import read_otlp_json_lines
from tests.support.traffic import Traffic

_CLOCK_STEP = 50_000_000
"""ns by which the wall clock may be adjusted while the test runs."""


@pytest.mark.parametrize("offset", ["86400", "-1"])
def test_timestamps_are_those_of_the_wall_clock(offset: str, tmp_path: Path) -> None:
    shifted = ["unshare", "--time", "--monotonic", offset, "--boottime", offset, "--"]
    traffic = Traffic()
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table", "-L", str(traffic.port)], run=shifted):
        before = time.time_ns()
        traffic.sessions(3)
        after = time.time_ns()
    traffic.close()
    logs = traffic.of(read_otlp_json_lines(tmp_path / "logs.jsonl").logs)
    assert len(logs) == 3
    earliest, latest = Origin.of(os.getpid()).created
    for log in logs:
        assert before - _CLOCK_STEP <= log.time_unix_nano <= after + _CLOCK_STEP
        assert log.time_unix_nano <= log.observed_time_unix_nano
        assert earliest <= unix_ns(str(log.attributes["process.creation.time"])) <= latest
