"""Processes of others whose names are any bytes: nothing that reads what is said of them may break."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.live import strange_names_main
from tests.live.strange_names_main import NAMES
from tests.support.host_agent import HostAgent
from tests.support.libbpf_tcplife import LibbpfTcplife
from tests.support.received import read_otlp_json_lines
from tests.support.traffic import Traffic


@contextmanager
def _others() -> Generator[int]:
    """A process with such names that has sessions all through the block, each name at least once; the port of them."""
    command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-IS", strange_names_main.__file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield int(process.stdout.readline())
        process.kill()


def test_what_others_are_called_hides_nothing(tmp_path: Path) -> None:
    traffic = Traffic()
    with HostAgent(["-w", "--otlp-file", str(tmp_path)]) as agent, LibbpfTcplife() as peer, _others() as foreign:
        made = traffic.sessions(20)
        theirs = peer.stop()
        assert agent.stop() == 0
    traffic.close()
    assert 0 < sum(traffic.port in (row.local_port, row.peer_port) for row in theirs) <= made
    ours = [row for row in agent.rows() if str(traffic.port) in (row[4], row[6])]
    assert len(ours) == made
    assert {row[0] for row in ours} == {str(os.getpid())}
    logs = read_otlp_json_lines(tmp_path / "logs.jsonl").logs
    assert len(traffic.of(logs)) == made
    assert len(agent.printed) - 1 == len(logs), "one line for each, whatever is in a name"
    said = {log.attributes.get("tcplife.comm", "") for log in logs if foreign in log.ports}
    assert said == {_printable(name) for name in NAMES}


def _printable(name: bytes) -> str:
    """A name with U+FFFD for what is no UTF-8 and for what cannot be printed."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name.decode("utf-8", "replace"))
