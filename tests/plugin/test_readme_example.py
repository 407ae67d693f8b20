"""The example of README.md does what it says."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.readme import python_example
from tests.support.actor import run_actor
from tests.support.host_scope import UNABLE_TO_SEE_OTHERS


def test_the_embedding_prints_the_sessions_of_the_port() -> None:
    example = python_example("start_tracing")
    with run_actor("act-client") as client, run_actor("act-server") as server:
        port = server.tell("listen", "l", "127.0.0.1")
        with subprocess.Popen(
            [*UNABLE_TO_SEE_OTHERS, sys.executable, "-uc", example.replace("443", str(port))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as running:  # fmt: skip
            assert running.stdout
            while running.stdout.read(1) not in (".", ""):  # at which its prompt ends
                pass
            client.connect("c", "127.0.0.1", port)
            server.tell("accept", "l", "s")
            client.tell("close", "c")
            server.tell("close", "s")
            printed, said = running.communicate("\n")
    assert not said
    assert re.findall(r'"body": "(\S+\[\d+\]) .*"', printed) == [f"act-client[{client.pid}]"]
    assert '"event_name": "tcplife.session.closed"' in printed
