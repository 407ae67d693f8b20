"""The table in the encodings that terminals have: a letter that one lacks ends neither the table nor the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_HEADER = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS"
_ENDS = "4,192.0.2.1,40000,198.51.100.1,443,1,2,3.00"
_RECORDING = f"{_HEADER}\n1,s\u00fcd-\u0416,{_ENDS}\n2,curl,{_ENDS}\n"


def _printed(directory: Path, encoding: str) -> str:
    (directory / "recording.csv").write_text(_RECORDING, encoding="utf-8")
    arguments = ["--replay", "recording.csv", "-s"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "otel_tcplife", *arguments],
        cwd=directory,
        env={**environment, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert done.stderr.decode().splitlines() == [
        "otel-tcplife: replaying; OTLP JSON Lines to ./otel-tcplife-data",
        "otel-tcplife: 2 sessions ended: 2 submitted",
        "otel-tcplife: file: 2 exported",
    ]
    return done.stdout.decode(encoding.partition(":")[0])


@pytest.mark.parametrize(
    ("encoding", "comm"),
    [
        ("ascii", "s?d-?"),
        ("ascii:strict", "s?d-?"),
        ("latin-1", "s\u00fcd-?"),
        ("koi8-r", "s?d-\u0416"),
        ("utf-8", "s\u00fcd-\u0416"),
    ],
)
def test_what_the_encoding_lacks_is_replaced(encoding: str, comm: str, tmp_path: Path) -> None:
    assert _printed(tmp_path, encoding).splitlines() == [_HEADER, f"1,{comm},{_ENDS}", f"2,curl,{_ENDS}"]
