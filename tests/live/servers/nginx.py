"""nginx with several workers, and curl."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.servers.ends import Session, failed_connect
from tests.live.servers.program import Client, Process, Server, children, eventually, names_itself, path_of
from tests.support.background_process import free_ports
from tests.support.expected_end import ExpectedEnd

WORKERS = 3
FILE_SIZE = 300_000
ENDLESS_SIZE = 64 << 20

_FIN_WAIT2 = 5
"""Of the kernel's TCP states."""

_CONFIGURATION = """
daemon off;
user nobody nogroup;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    log_format said escape=json '{{"pid": $pid, "connection": $connection, "requests": $connection_requests, '
        '"client_port": $remote_port, "server_port": $server_port, "sent": $bytes_sent, "received": $request_length, '
        '"uri": "$uri", "to_upstream": "$upstream_bytes_sent", "from_upstream": "$upstream_bytes_received"}}';
    access_log {directory}/access.log said;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    root {directory}/root;
    server {{
        listen 127.0.0.1:{port} reuseport;
        listen [::1]:{port} reuseport;
        location /silent {{ return 444; }}
        location /unread {{ lingering_close off; return 200 "text"; }}
        location /proxied {{ proxy_pass http://127.0.0.1:{upstream}/file; }}
    }}
    server {{ listen 127.0.0.1:{upstream} reuseport; }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx: its master, ports and directory."""

    server: Server
    port: int
    upstream: int
    directory: Path

    def said(self, **wanted: Any) -> list[dict[str, Any]]:
        """The lines of the access log with these values, in their order."""
        lines = (self.directory / "access.log").read_text().splitlines()
        read = [json.loads(line) for line in lines]
        return [line for line in read if wanted.items() <= line.items()]

    def of(self, client_port: int, requests: int = 1) -> list[dict[str, Any]]:
        """What it says of the requests of one session, once it has said it: it answers first."""

        def look() -> list[dict[str, Any]] | None:
            lines = self.said(client_port=client_port)
            return lines if len(lines) >= requests else None

        lines = eventually(look, "line in the access log")
        assert [line["requests"] for line in lines] == list(range(1, requests + 1))
        assert len({(line["pid"], line["connection"]) for line in lines}) == 1
        return lines

    def worker(self, line: dict[str, Any]) -> Process:
        """The worker that a line of the access log is from."""
        process = Process.of(line["pid"])
        assert process.pid in children(self.server.pid)
        return process


def play(directory: Path, port: int, upstream: int) -> list[ExpectedEnd]:
    """Every scenario, one after the other."""
    (directory / "root").mkdir(parents=True)
    (directory / "root/file").write_bytes(os.urandom(FILE_SIZE))
    with (directory / "root/endless").open("wb") as endless:
        endless.truncate(ENDLESS_SIZE)
    configuration = directory / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(workers=WORKERS, directory=directory, port=port, upstream=upstream))
    command = [path_of("nginx"), "-e", "stderr", "-c", configuration]
    with Server(command, directory / "nginx.log", [port, upstream], signal.SIGINT) as server:
        names_itself(server, directory / "nginx.pid")
        nginx = Nginx(server, port, upstream, directory)
        return [
            *_connection_close(nginx),
            *_one_session("nginx keep-alive", nginx, "127.0.0.1", ["file"] * 5, "client"),
            *_one_session("nginx IPv6", nginx, "::1", ["file", "none"], "client"),
            *_one_session("nginx empty reply", nginx, "127.0.0.1", ["silent"], "server", status=52),
            *_refused("nginx refused", "127.0.0.1"),
            *_refused("nginx refused IPv6", "::1"),
            *_second_address(nginx),
            *_proxied(nginx),
            *_unread_answer(nginx),
            *_curl_is_killed(nginx),
            *_worker_is_killed(nginx),
            *_reload(nginx),
        ]


def _curl(urls: Sequence[str], *options: str) -> Client:
    outputs = [option for url in urls for option in ("-o", "/dev/null", url)]
    return Client([path_of("curl"), "-q", "-g", "-s", "-w", "%{json}\n", *options, *outputs])


def _transfers(curl: Client, *statuses: int) -> list[dict[str, Any]]:
    """What it says of its transfers."""
    return [json.loads(line) for line in curl.finish(*statuses).splitlines()]


def _connection_close(nginx: Nginx) -> list[ExpectedEnd]:
    ends: list[ExpectedEnd] = []
    for _ in range(24):
        ends += _one_session(
            "nginx connection: close", nginx, "127.0.0.1", ["file"], None, options=["-H", "Connection: close"]
        )  # whoever is faster closes first: curl knows the length
    workers = {end.attributes["process.pid"] for end in ends if end.attributes["tcplife.role"] == "server"}
    assert len(workers) > 1
    return ends


def _one_session(
    scenario: str,
    nginx: Nginx,
    address: str,
    paths: Sequence[str],
    closes_first: str | None,
    *,
    options: Sequence[str] = (),
    status: int = 0,
) -> list[ExpectedEnd]:
    """curl fetches these paths in one session."""
    host = f"[{address}]" if ":" in address else address
    with _curl([f"http://{host}:{nginx.port}/{path}" for path in paths], *options) as curl:
        transfers = _transfers(curl, status)
    [client_port] = {transfer["local_port"] for transfer in transfers}
    lines = nginx.of(client_port, len(paths))
    by_client = sum(transfer["size_request"] for transfer in transfers)
    by_server = sum(transfer["size_header"] + transfer["size_download"] for transfer in transfers)
    assert sum(line["received"] for line in lines) == by_client
    assert sum(line["sent"] for line in lines) == by_server
    session = Session(
        scenario, curl.process, nginx.worker(lines[0]), client_port, nginx.port, address,
        by_client, by_server, closes_first,
    )  # fmt: skip
    return session.ends()


def _refused(scenario: str, address: str) -> list[ExpectedEnd]:
    local_port, closed_port = free_ports(2)
    host = f"[{address}]" if ":" in address else address
    with _curl([f"http://{host}:{closed_port}/"], "--local-port", str(local_port)) as curl:
        [transfer] = _transfers(curl, 7)
    assert transfer["num_connects"] == 0
    return [failed_connect(scenario, curl.process, address, (local_port, closed_port), "ECONNREFUSED")]


def _second_address(nginx: Nginx) -> list[ExpectedEnd]:
    """A name with an IPv6 address where nobody listens, and an IPv4 one."""
    [local_port] = free_ports(1)
    host = f"two.example:{nginx.upstream}"
    with _curl([f"http://{host}/file"], "--resolve", f"{host}:::1,127.0.0.1", "--local-port", str(local_port)) as curl:
        [transfer] = _transfers(curl)
    assert (transfer["remote_ip"], transfer["local_port"]) == ("127.0.0.1", local_port)
    [line] = nginx.of(local_port)
    scenario = "nginx second address"
    session = Session(
        scenario, curl.process, nginx.worker(line), local_port, nginx.upstream,
        by_client=transfer["size_request"], by_server=transfer["size_header"] + transfer["size_download"],
        closes_first="client",
    )  # fmt: skip
    return [
        failed_connect(scenario, curl.process, "::1", (local_port, nginx.upstream), "ECONNREFUSED"),
        *session.ends(),
    ]


def _proxied(nginx: Nginx) -> list[ExpectedEnd]:
    """A worker is itself the client of another, or of itself."""
    scenario = "nginx proxied"
    before = len(nginx.said(server_port=nginx.upstream))
    ends = _one_session(scenario, nginx, "127.0.0.1", ["proxied"], "client")
    [front] = nginx.said(uri="/proxied")
    [back] = eventually(lambda: nginx.said(server_port=nginx.upstream)[before:], "line of the upstream")
    assert (front["to_upstream"], front["from_upstream"]) == (str(back["received"]), str(back["sent"]))
    session = Session(
        scenario, nginx.worker(front), nginx.worker(back), back["client_port"], nginx.upstream,
        by_client=back["received"], by_server=back["sent"],
    )  # fmt: skip
    return [*ends, *session.ends()]


def _curl_is_killed(nginx: Nginx) -> list[ExpectedEnd]:
    """In the middle of a download, with bytes that it has not read: its kernel resets the session."""
    [local_port] = free_ports(1)
    url = f"http://127.0.0.1:{nginx.port}/endless"
    with _curl([url], "--limit-rate", "100", "--local-port", str(local_port)) as curl:
        eventually(lambda: _socket(local_port, nginx.port)[1] > 10_000, "download under way")
        curl.signal(signal.SIGKILL)
        curl.finish(-signal.SIGKILL)
    [line] = nginx.of(local_port)
    assert 0 < line["sent"] < ENDLESS_SIZE
    session = Session(
        "nginx curl killed", curl.process, nginx.worker(line), local_port, nginx.port, by_client=line["received"],
        special={
            "client": {"tcplife.close.reason": "local_reset"},
            "server": {"tcplife.close.reason": "peer_reset", "error.type": "ECONNRESET"},
        },
    )  # fmt: skip
    return session.ends()


def _socket(local_port: int, peer_port: int) -> tuple[int, int]:
    """State of the socket with these ports, and the bytes in it that wait to be read."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, peer, state, queues, *_ = line.split()
        if [int(end.rpartition(":")[2], 16) for end in (local, peer)] == [local_port, peer_port]:
            return int(state, 16), int(queues.rpartition(":")[2], 16)
    return 0, 0


def _unread_answer(nginx: Nginx) -> list[ExpectedEnd]:
    """The server has closed when the client does, which has read nothing: its kernel sends a reset, and no FIN."""
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=20) as client:
        client.sendall(b"GET /unread HTTP/1.0\r\n\r\n")
        client_port: int = client.getsockname()[1]
        eventually(lambda: _socket(nginx.port, client_port)[0] == _FIN_WAIT2, "FIN of the server that is acknowledged")
    [line] = nginx.of(client_port)
    session = Session(
        "nginx unread answer", Process.of(os.getpid()), nginx.worker(line), client_port, nginx.port,
        by_client=line["received"], by_server=line["sent"], closes_first="server",
        special={"client": {"tcplife.close.reason": "local_reset"}},
    )  # fmt: skip
    return session.ends()


class _KeepAlive:
    """This process as a client that keeps its session after one request."""

    def __init__(self, nginx: Nginx) -> None:
        self._nginx = nginx
        self._socket = socket.create_connection(("127.0.0.1", nginx.port), timeout=20)
        request = b"HEAD /file HTTP/1.1\r\nHost: test\r\n\r\n"
        self._socket.sendall(request)
        self._received = 0
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self._socket.recv(65536)
        self._sizes = len(request), len(answer)
        self._port: int = self._socket.getsockname()[1]
        [line] = nginx.of(self._port)
        self.worker = nginx.worker(line)

    def ended_by(self, server: Process, scenario: str) -> list[ExpectedEnd]:
        """Wait until the server closes, then close."""
        assert self._socket.recv(1) == b""
        self._socket.close()
        session = Session(
            scenario, Process.of(os.getpid()), server, self._port, self._nginx.port,
            by_client=self._sizes[0], by_server=self._sizes[1], closes_first="server",
        )  # fmt: skip
        return session.ends()


def _worker_is_killed(nginx: Nginx) -> list[ExpectedEnd]:
    client = _KeepAlive(nginx)
    os.kill(client.worker.pid, signal.SIGKILL)
    ends = client.ended_by(client.worker, "nginx worker killed")
    eventually(lambda: len(set(children(nginx.server.pid)) - {client.worker.pid}) == WORKERS, "worker in its place")
    return ends


def _reload(nginx: Nginx) -> list[ExpectedEnd]:
    """Its old workers close the sessions that wait for another request."""
    client = _KeepAlive(nginx)
    os.kill(nginx.server.pid, signal.SIGHUP)
    return client.ended_by(client.worker, "nginx reload")
