"""redis-server, redis-cli and redis-benchmark."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.live.servers.ends import Session
from tests.live.servers.program import NOBODY, Client, Process, Server, as_user, eventually, path_of
from tests.live.servers.wire import Wire
from tests.support.expected_end import ExpectedEnd

_CLI = "redis-cli"


@dataclass(frozen=True)
class Redis:
    """A running server: itself and its port."""

    process: Process
    port: int


def play(directory: Path, port: int, wire: Wire) -> list[ExpectedEnd]:
    """Every scenario, one after the other."""
    directory.mkdir()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "::1", "--save", "", "--appendonly", "no"]
    command = as_user("nobody", [path_of("redis-server"), *arguments, "--dir", directory])
    with Server(command, directory / "redis.log", [port], signal.SIGTERM) as server:
        process = Process.of(server.pid)
        assert (process.comm, process.uid) == ("redis-server", NOBODY)
        redis = Redis(process, port)
        [pid] = [line for line in _asked(redis, "INFO", "server").splitlines() if line.startswith("process_id:")]
        assert pid == f"process_id:{server.pid}"
        ends = [
            *[end for _ in range(50) for end in _short(redis, "127.0.0.1")],
            *_short(redis, "::1"),
            *_benchmark(redis, wire),
            *_client_killed(redis),
            *_client_dies(redis),
        ]
        return [*ends, *_server_stops(redis, server)]


def _cli(redis: Redis, *command: str, address: str = "127.0.0.1") -> Client:
    return Client([path_of(_CLI), "-h", address, "-p", str(redis.port), *command])


def _asked(redis: Redis, *command: str) -> str:
    with _cli(redis, *command) as cli:
        return cli.finish()


def _request(command: Sequence[str]) -> int:
    """Size of a command in the Redis protocol: an array of bulk strings."""
    return len(f"*{len(command)}\r\n") + sum(_bulk(len(word)) for word in command)


def _bulk(size: int) -> int:
    return len(f"${size}\r\n") + size + 2


def _fields(line: str) -> dict[str, str]:
    """Of a line of CLIENT LIST or CLIENT INFO."""
    return dict(each.split("=", 1) for each in line.split())


def _port(client: dict[str, str]) -> int:
    return int(client["addr"].rpartition(":")[2])


def _short(redis: Redis, address: str) -> list[ExpectedEnd]:
    """A session for one command, which asks the server what it knows of that session."""
    with _cli(redis, "CLIENT", "INFO", address=address) as cli:
        output = cli.finish()
    client = _fields(output)
    assert client["cmd"] == "client|info"
    session = Session(
        "redis short session", cli.process, redis.process, _port(client), redis.port, address,
        _request(["CLIENT", "INFO"]), _bulk(len(output.rstrip("\n")) + 1), "client",
    )  # fmt: skip
    return session.ends()


def _benchmark(redis: Redis, wire: Wire) -> list[ExpectedEnd]:
    """A burst of sessions of one process, which has twenty of them at a time; the wire knows their ports."""
    before = len(wire.sessions(redis.port))
    arguments = ["-p", str(redis.port), "-c", "20", "-n", "500", "-k", "0", "-q", "-t", "ping_mbulk"]
    with Client([path_of("redis-benchmark"), *arguments]) as benchmark:
        benchmark.finish()
    made = wire.sessions(redis.port)[before:]
    assert len(made) >= 500
    return [
        end
        for session in made
        for end in Session("redis burst", benchmark.process, redis.process, session.client_port, redis.port).ends()
    ]


def _waiting(redis: Redis) -> dict[str, str]:
    """The one client that waits in BLPOP."""

    def look() -> dict[str, str] | None:
        clients = [_fields(line) for line in _asked(redis, "CLIENT", "LIST").splitlines() if line]
        found = [client for client in clients if client["cmd"] == "blpop"]
        return found[0] if found else None

    return eventually(look, "client that waits")


_WAIT = ("BLPOP", "nothing", "0")


def _client_killed(redis: Redis) -> list[ExpectedEnd]:
    """By CLIENT KILL from another session: the server closes first."""
    ends: list[ExpectedEnd] = []
    with _cli(redis, *_WAIT) as cli:
        client = _waiting(redis)
        assert _asked(redis, "CLIENT", "KILL", "ID", client["id"]).strip() == "1"
        session = Session(
            "redis client killed", cli.process, redis.process, _port(client), redis.port,
            by_client=_request(_WAIT), by_server=0, closes_first="server",
        )  # fmt: skip
        ends += session.ends()
        cli.finish(1)
    return ends


def _client_dies(redis: Redis) -> list[ExpectedEnd]:
    with _cli(redis, *_WAIT) as cli:
        client = _waiting(redis)
        cli.signal(signal.SIGKILL)
        cli.finish(-signal.SIGKILL)
    session = Session(
        "redis client dies", cli.process, redis.process, _port(client), redis.port,
        by_client=_request(_WAIT), by_server=0, closes_first="client",
    )  # fmt: skip
    return session.ends()


def _server_stops(redis: Redis, server: Server) -> list[ExpectedEnd]:
    """While a session is open."""
    with _cli(redis, *_WAIT) as cli:
        client = _waiting(redis)
        server.stop()
        cli.finish(1)
    session = Session(
        "redis server stops", cli.process, redis.process, _port(client), redis.port,
        by_client=_request(_WAIT), closes_first="server",
    )  # fmt: skip
    return session.ends()
