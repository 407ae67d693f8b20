"""Sessions that go on count while they go on, and their sum is what was moved, to the byte."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import termios
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from otel_tcplife.options import Options
from otel_tcplife.probe import iterator
from otel_tcplife.probe.live import open_live_source
from otel_tcplife.session import concatenated
from tests.support.host_agent import HostAgent
from tests.support.pins import PIN, Pinned
from tests.support.received import ReceivedPoint, read_otlp_json_lines

DELTA = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
Moved = tuple[int, int, int, int]
"""Bytes that the client sent and received, and those that the server did."""


class Link:
    """Connected sockets of this process with itself, by a port that is nobody else's and no ephemeral one."""

    def __init__(self) -> None:
        self._listener = _listener()
        self.port: int = self._listener.getsockname()[1]

    def open(self) -> tuple[socket.socket, socket.socket]:
        """The client's socket of a session, and the server's."""
        client = socket.create_connection(("127.0.0.1", self.port))
        return client, self._listener.accept()[0]

    def close(self) -> None:
        self._listener.close()


def _listener() -> socket.socket:
    while True:
        try:
            return socket.create_server(("127.0.0.1", random.randint(15_000, 30_000)))
        except OSError:
            continue


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.close()


def _move(source: socket.socket, target: socket.socket, count: int) -> None:
    """Send so many bytes, and receive them at the other end: what is not acknowledged yet does not count as sent."""
    sent = threading.Thread(target=source.sendall, args=[bytes(count)])
    sent.start()
    while count:
        count -= len(target.recv(min(count, 1 << 20)))
    sent.join()
    while any(fcntl.ioctl(source, termios.TIOCOUTQ, bytes(4))):
        time.sleep(0.001)


def _points(directory: Path, name: str, port: int) -> list[ReceivedPoint]:
    path = directory / "metrics.jsonl"
    points = read_otlp_json_lines(path, growing=True).points if path.exists() else []
    return [point for point in points if point.name == name and point.attributes.get("server.port") == port]


def _moved(directory: Path, port: int) -> Moved:
    """The sum over all exports: of deltas all of them, else the last one of each series."""
    sums: Counter[object] = Counter()
    for point in _points(directory, "tcplife.io", port):
        assert point.monotonic
        assert point.unit == "By"
        key = point.attributes["tcplife.role"], point.attributes["network.io.direction"]
        value = int(point.value or 0)
        sums[key] = sums[key] + value if point.temporality == 1 else value
    keys = [(role, direction) for role in ("client", "server") for direction in ("transmit", "receive")]
    return sums[keys[0]], sums[keys[1]], sums[keys[2]], sums[keys[3]]


def _wait_for(directory: Path, port: int, wanted: Moved) -> None:
    """Until an export says so; what is said on the way there is never more."""
    while (moved := _moved(directory, port)) != wanted:
        assert all(now <= then for now, then in zip(moved, wanted))
        time.sleep(0.05)


@pytest.mark.parametrize("variables", [{}, DELTA], ids=["cumulative", "delta"])
def test_a_session_that_outlives_five_exports(link: Link, tmp_path: Path, variables: dict[str, str]) -> None:
    environment = {"OTEL_METRIC_EXPORT_INTERVAL": "200", **variables}
    up = down = 0
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"], environment):
        client, server = link.open()
        for number in range(5):
            _move(client, server, 1000 + number)
            _move(server, client, 70_000 * number)
            up, down = up + 1000 + number, down + 70_000 * number
            _wait_for(tmp_path, link.port, (up, down, down, up))
        assert not _points(tmp_path, "tcplife.session.io", link.port)
        _move(client, server, 5)
        client.close()
        server.close()
    assert _moved(tmp_path, link.port) == (up + 5, down, down, up + 5)
    named = {point.attributes["process.executable.name"] for point in _points(tmp_path, "tcplife.io", link.port)}
    assert named == {os.path.basename(os.path.realpath("/proc/self/exe"))}


@pytest.mark.parametrize("variables", [{}, DELTA], ids=["cumulative", "delta"])
def test_of_an_adopted_session_what_it_has_done_since(link: Link, tmp_path: Path, variables: dict[str, str]) -> None:
    client, server = link.open()
    _move(client, server, 100_000)
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"], {"OTEL_METRIC_EXPORT_INTERVAL": "200", **variables}):
        _move(client, server, 23)
        _wait_for(tmp_path, link.port, (23, 0, 0, 23))
        _move(server, client, 7)
        client.close()
        server.close()
    assert _moved(tmp_path, link.port) == (23, 7, 7, 23)


def test_a_session_that_ends_between_two_exports(link: Link, tmp_path: Path) -> None:
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]):
        client, server = link.open()
        _move(client, server, 42)
        client.close()
        server.close()
    assert _moved(tmp_path, link.port) == (42, 0, 0, 42)


def test_a_session_that_is_open_at_the_stop(link: Link, tmp_path: Path) -> None:
    client, server = link.open()
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"]):
        _move(client, server, 42)
    assert _moved(tmp_path, link.port) == (42, 0, 0, 42)
    client.close()
    server.close()


def test_a_socket_that_several_processes_have_is_counted_once(link: Link, tmp_path: Path) -> None:
    client, server = link.open()
    copies = [os.dup(client.fileno()) for _ in range(3)]
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"], {"OTEL_METRIC_EXPORT_INTERVAL": "200"}):
        child = os.fork()
        if not child:
            time.sleep(600)
            os._exit(0)
        _move(client, server, 42)
        _wait_for(tmp_path, link.port, (42, 0, 0, 42))
        [active] = {point.value for point in _active(tmp_path, link.port, "client")}
        assert active == 1
        os.kill(child, 9)
        os.waitpid(child, 0)
        for each in copies:
            os.close(each)
        client.close()
        server.close()
    assert _moved(tmp_path, link.port) == (42, 0, 0, 42)


def _active(directory: Path, port: int, role: str) -> list[ReceivedPoint]:
    points = _points(directory, "tcplife.session.active", port)
    return [point for point in points if point.attributes["tcplife.role"] == role]


def test_the_open_ones_are_counted_by_program_and_port(link: Link, tmp_path: Path) -> None:
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"], {"OTEL_METRIC_EXPORT_INTERVAL": "200"}):
        pairs = [link.open() for _ in range(3)]
        for left in (3, 1, 0):
            while len(pairs) > left:
                for end in pairs.pop():
                    end.close()
            for role in ("client", "server"):
                while not (points := _active(tmp_path, link.port, role)) or points[-1].value != left:
                    time.sleep(0.05)
                assert points[-1].monotonic is False


class _Busy:
    """Sessions that move bytes and end, in a thread, for as long as it takes."""

    def __init__(self, link: Link, seed: int) -> None:
        self._link = link
        self._random = random.Random(seed)
        self.moved = Counter[str]()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        for _ in range(150):
            client, server = self._link.open()
            for _ in range(self._random.randint(0, 4)):
                up, down = self._random.randint(0, 3000), self._random.randint(0, 3000)
                _move(client, server, up)
                _move(server, client, down)
                self.moved.update(up=up, down=down)
                time.sleep(0.002)
            for end in self._random.sample([client, server], 2):
                end.close()


@pytest.mark.parametrize("variables", [{}, DELTA], ids=["cumulative", "delta"])
def test_nothing_is_counted_twice_where_sessions_end_while_they_are_scanned(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    links = [Link() for _ in range(4)]
    with HostAgent(["--otlp-file", str(tmp_path), "--no-table"], {"OTEL_METRIC_EXPORT_INTERVAL": "20", **variables}):
        busy = [_Busy(link, seed) for seed, link in enumerate(links)]
        for each in busy:
            each.thread.join()
    for link, each in zip(links, busy):
        up, down = each.moved["up"], each.moved["down"]
        assert _moved(tmp_path, link.port) == (up, down, down, up)
        link.close()


def test_a_session_over_three_runs_of_a_program_that_stays(link: Link, pinned: Pinned, tmp_path: Path) -> None:
    """What it does while no tracer runs is counted by the next one."""
    directories = [tmp_path / name for name in ("first", "second", "third")]
    agents = [HostAgent(["--otlp-file", str(each), "--no-table"], {PIN: str(pinned.pins)}) for each in directories]
    client, server = link.open()
    for count, agent in zip((10, 1000), agents):
        with agent:
            _move(client, server, count)
        _move(server, client, count)
    with agents[2]:
        client.close()
        server.close()
    runs = [_moved(directory, link.port) for directory in directories]
    assert runs == [(10, 0, 0, 10), (1000, 10, 10, 1000), (0, 1000, 1000, 0)]


def test_a_scan_that_cannot_be_is_made_up_for(
    link: Link, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as where no descriptor is left: it ends nothing, and loses nothing."""
    with closing(open_live_source(Options(), hide_tracer=False)) as source:
        client, server = link.open()
        _move(client, server, 42)
        with monkeypatch.context() as patched:
            patched.setattr(iterator, "written_by_iterator", _refused)
            assert [*source.open_sessions()] == []
        while not (batches := [*source.open_sessions()]):  # too soon
            time.sleep(0.01)
        rows = concatenated(batches)
        [row] = [row for row in rows if row["peer_port"] == link.port]
        assert (row["bytes_sent"], row["counted_bytes_sent"]) == (42, 0)
        client.close()
        server.close()
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "cannot look at the open sessions: Too many open files; " in line]


def _refused(_link: int) -> Iterator[bytes]:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
