"""What signals do to the command: before it traces, in a terminal, and as a service."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.host_agent import COMMAND
from tests.support.host_agent import HostAgent as Agent
from tests.support.received import read_otlp_json_lines
from tests.support.traffic import Traffic


def _takes_interrupts(pid: int) -> bool:
    """Whether the program has got so far that it handles SIGINT itself; before that, it is Python that starts."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("\nSigCgt:")[2].split(maxsplit=1)[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5])
def test_one_that_comes_early_ends_it_with_one_line(delay: float, number: signal.Signals, tmp_path: Path) -> None:
    """To the whole process group, as Ctrl-C in a terminal does."""
    process = subprocess.Popen(
        [COMMAND, "--no-table"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        start_new_session=True,
    )  # fmt: skip
    while not _takes_interrupts(process.pid):
        time.sleep(0.001)
    time.sleep(delay)
    os.killpg(process.pid, number)
    printed, said = process.communicate()
    lines = said.splitlines()
    assert (process.returncode, printed) == (0, "")
    if lines[0] == f"otel-tcplife: {number.name} before tracing began":
        assert lines[1:] == []
    else:
        assert lines[0].startswith("otel-tcplife: tracing; ")
        assert all(line.startswith("otel-tcplife: ") for line in lines)


def _ends(path: Path, traffic: Traffic) -> int:
    logs = read_otlp_json_lines(path, growing=True).logs if path.exists() else []
    return len(traffic.of(logs))


# Those that run the tests may ignore it, as nohup(1) does, and what they start inherits that
_HEEDING_HANGUPS = ("env", "--default-signal=HUP")


def test_a_service_opens_its_files_anew_at_sighup(traffic: Traffic, tmp_path: Path) -> None:
    arguments = ["--otlp-file", str(tmp_path), "--no-table"]
    with Agent(arguments, run=["setsid", *_HEEDING_HANGUPS]) as agent:
        traffic.sessions(2)
        while _ends(tmp_path / "logs.jsonl", traffic) < 4:
            time.sleep(0.01)
        (tmp_path / "logs.jsonl").rename(tmp_path / "rotated.jsonl")
        os.kill(agent.pid, signal.SIGHUP)
        traffic.sessions(3)
        assert agent.stop() == 0
    traffic.close()
    assert _ends(tmp_path / "rotated.jsonl", traffic) == 4
    assert _ends(tmp_path / "logs.jsonl", traffic) == 6
    assert "otel-tcplife: SIGHUP: files are opened anew" in agent.said


def test_nohup_goes_on(traffic: Traffic, tmp_path: Path) -> None:
    with Agent(["--otlp-file", str(tmp_path), "--no-table"], run=["nohup"]) as agent:
        os.kill(agent.pid, signal.SIGHUP)
        traffic.sessions(3)
        assert agent.stop() == 0
    traffic.close()
    assert _ends(tmp_path / "logs.jsonl", traffic) == 6
    assert not [line for line in agent.said if "SIGHUP" in line or "terminal" in line]


def test_a_terminal_that_goes_stops_it_with_everything_delivered(traffic: Traffic, tmp_path: Path) -> None:
    said = tmp_path / "said"
    child, terminal = pty.fork()
    if not child:
        with said.open("w") as stderr:
            os.dup2(stderr.fileno(), 2)
        os.execvp("env", [*_HEEDING_HANGUPS, COMMAND, "--otlp-file", str(tmp_path / "data")])
    while not (said.exists() and "tracing;" in said.read_text()):
        time.sleep(0.01)
    traffic.sessions(3)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    traffic.close()
    assert status == 0
    lines = said.read_text().splitlines()
    assert "otel-tcplife: the terminal has gone; stopping" in lines
    assert any("sessions ended" in line for line in lines)
    assert not [line for line in lines if not line.startswith("otel-tcplife: ")]
    assert _ends(tmp_path / "data/logs.jsonl", traffic) == 6
    assert read_otlp_json_lines(tmp_path / "data/metrics.jsonl").points
