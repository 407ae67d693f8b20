"""The unit file of the documents, run by the real service manager: it traces the host with all that is hardened."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.actor import run_actor
from tests.support.otlp_receiver import FileReceiver
from tests.support.played_session import CLIENT, FAMILIES, SERVER, Session
from tests.support.private_systemd import UID, PrivateSystemd
from tests.support.received import read_otlp_json_lines
from tests.support.thread_status import ThreadStatus, threads_of

_UNIT = Path(__file__).parents[2] / "collector-config" / "systemd" / "otel-tcplife.service"
_LOADER = 1 << 38 | 1 << 39
_DROPPED = ThreadStatus((UID,) * 4, (UID,) * 4, (UID,), 0, 0, 0, _LOADER, 0, 1)


def test_the_unit_traces_the_host_and_gives_its_capabilities_up(tmp_path: Path) -> None:
    received = tmp_path / "received"
    received.mkdir()
    with FileReceiver(received) as receiver, run_actor(CLIENT) as client, run_actor(SERVER) as server:
        endpoint = f"Environment=OTEL_EXPORTER_OTLP_ENDPOINT={receiver.endpoint}"
        with PrivateSystemd(_UNIT, tmp_path, endpoint) as manager:
            manager.wait_until_said(": tracing;")
            assert {*threads_of(manager.pid)} == {_DROPPED}
            assert Path(f"/proc/{manager.pid}/status").stat().st_uid == 0  # it is not dumpable
            [compiled] = manager.cache.iterdir()
            assert (compiled.stat().st_uid, manager.cache.stat().st_mode & 0o777) == (UID, 0o750)
            assert "\nSeccomp:\t2\n" in Path(f"/proc/{manager.pid}/status").read_text()
            session = Session(FAMILIES[0], client, server)
            session.open()
            session.exchange(12, 34)
            client.tell("close", "c")
            server.tell("close", "s")
            os.kill(manager.pid, signal.SIGTERM)
            manager.wait()
        logs = read_otlp_json_lines(received / "logs.jsonl").logs
    ports = session.client_port, session.server_port
    [of_client] = [log.attributes for log in logs if log.ports == ports and not log.is_elsewhere]
    [of_server] = [log.attributes for log in logs if log.ports == ports[::-1] and not log.is_elsewhere]
    assert (of_client["process.pid"], of_server["process.pid"]) == (client.pid, server.pid)
    assert (of_client["tcplife.bytes.sent"], of_client["tcplife.bytes.received"]) == (12, 34)


def test_one_that_hangs_is_ended_by_the_watchdog(tmp_path: Path) -> None:
    """Which looks only at what has said that it is ready."""
    with PrivateSystemd(_UNIT, tmp_path, "WatchdogSec=10") as manager:
        manager.wait_until_said(": tracing;")
        os.kill(manager.pid, signal.SIGSTOP)
        manager.wait()
