"""A kernel that is locked down, which is not taken back until the machine is booted again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.host_agent import COMMAND, HostAgent
from tests.support.received import read_otlp_json_lines
from tests.support.traffic import Traffic

_LOCKDOWN = Path("/sys/kernel/security/lockdown")


def _lock_down(how: str) -> None:
    if how not in (_LOCKDOWN.read_text() if _LOCKDOWN.exists() else ""):
        pytest.skip(f"this kernel is built without lockdown={how}")
    _LOCKDOWN.write_text(how)
    assert f"[{how}]" in _LOCKDOWN.read_text()


def test_integrity_lets_it_trace(tmp_path: Path) -> None:
    _lock_down("integrity")
    traffic = Traffic()
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]):
        ends = traffic.sessions(3)
    traffic.close()
    assert len(traffic.of(read_otlp_json_lines(tmp_path / "logs.jsonl").logs)) == ends


def test_confidentiality_is_told_with_what_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    _lock_down("confidentiality")
    done = subprocess.run([COMMAND, "--no-table"], capture_output=True, text=True, check=False)
    with capsys.disabled():
        print(f"\n{done.stderr}")
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("otel-tcplife: cannot trace: ")
    assert "boot with lockdown=integrity or without lockdown" in line
