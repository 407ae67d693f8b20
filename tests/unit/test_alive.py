"""What a service manager is told, and the file that a probe looks at."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from otel_tcplife.alive import Alive
from otel_tcplife.errors import BadUsage


def _listening(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    return listener


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_service_manager_is_told_that_it_begins_goes_on_and_ends(is_abstract: bool, tmp_path: Path) -> None:
    name = f"@tcplife-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with _listening(name.replace("@", "\0")) as manager:
        alive = Alive(None, {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": str(os.getpid())})
        alive.begin()
        alive.go_on()
        alive.go_on()  # too soon to be said again
        time.sleep(0.002)
        alive.go_on()
        alive.end()
        said = [manager.recv(100) for _ in range(4)]
        assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


@pytest.mark.parametrize("name", ["/nowhere/at/all", "@nobody-listens", "relative", ""])
def test_nothing_goes_wrong_where_nobody_listens(name: str) -> None:
    alive = Alive(None, {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "nonsense"})
    alive.begin()
    alive.go_on()
    alive.end()


def test_the_file_is_there_while_it_traces_and_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()  # which one that was killed has left
    alive = Alive(str(file), {})
    assert not file.exists()
    alive.begin()
    os.utime(file, (0, 0))
    alive.go_on()
    assert file.stat().st_mtime > 0
    alive.end()
    assert not file.exists()


def test_a_file_that_cannot_be_made_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="No such file or directory; name a file that can be written to"):
        Alive(str(tmp_path / "missing" / "alive"), {}).begin()
    with pytest.raises(BadUsage, match="name a file that can be written to"):
        Alive(str(tmp_path), {})
