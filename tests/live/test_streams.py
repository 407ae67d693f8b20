"""Standard streams that are closed, or that nobody reads any more."""

from __future__ import annotations

import subprocess
from itertools import chain, combinations
from pathlib import Path

import pytest

from tests.support.host_agent import COMMAND
from tests.support.received import read_otlp_json_lines

_CLOSINGS = {0: "0<&-", 1: "1>&-", 2: "2>&-"}
_ALL = [*chain.from_iterable(combinations(_CLOSINGS, count) for count in (1, 2, 3))]
_ONE_SESSION = """
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    client = socket.create_connection(listener.getsockname())
    listener.accept()[0].close()
    client.close()
    print(listener.getsockname()[1])
"""


@pytest.mark.parametrize("closed", _ALL, ids=str)
def test_it_traces_with_closed_streams(closed: tuple[int, ...], tmp_path: Path) -> None:
    """Nothing that it opens gets the number of one, and nothing that it says gets into the table."""
    shell = f"""
        exec 8>&2
        "$1" -s --otlp-file "$2/data" >"$2/shown" 2>"$2/said" {" ".join(_CLOSINGS[each] for each in closed)} &
        tool=$!
        until [ -s "$2/data/logs.jsonl" ] || ! kill -0 $tool 2>&8; do "$3" -IS -c "$4" >>"$2/ports"; sleep 0.2; done
        kill -INT $tool; wait $tool; exit $?
    """
    command = ["bash", "-c", shell, "bash", COMMAND, str(tmp_path), "/usr/bin/python3", _ONE_SESSION]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (tmp_path / "said").read_text()
    shown, said = (tmp_path / "shown").read_text().splitlines(), (tmp_path / "said").read_text().splitlines()
    assert not [line for line in said if not line.startswith("otel-tcplife: ")]
    assert bool(said) == (2 not in closed)
    assert bool(shown) == (1 not in closed)
    assert not [line for line in shown if line.count(",") < 9], "nothing but rows"
    ports = {int(port) for port in (tmp_path / "ports").read_text().split()}
    logs = read_otlp_json_lines(tmp_path / "data/logs.jsonl").logs
    assert ports & {log.ports[0] for log in logs}


@pytest.mark.parametrize("arguments", ["--check", "--help", "--version"])
def test_a_reader_that_has_seen_enough(arguments: str, tmp_path: Path) -> None:
    shell = f'"{COMMAND}" {arguments} | (exec <&-; sleep 0.1); exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
