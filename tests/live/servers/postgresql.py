"""PostgreSQL, which has a process for each session, and psql."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pwd import getpwnam
from typing import Any

from tests.live.servers.ends import Session, Side, Special
from tests.live.servers.program import Client, Process, Server, as_user, children, eventually
from tests.support.expected_end import ExpectedEnd

_USER = "postgres"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # in its own directory
    "fsync": "off",
}


@dataclass(frozen=True)
class Postgresql:
    """A running server and its port."""

    server: Server
    port: int


def play(directory: Path, port: int) -> list[ExpectedEnd]:
    """Every scenario, one after the other."""
    directory.mkdir()
    os.chown(directory, getpwnam(_USER).pw_uid, -1)
    data = directory / "data"
    initdb = [_program("initdb"), "-D", data, "-A", "trust", "-U", _USER, "-E", "UTF8", "--no-locale", "--no-sync"]
    subprocess.run(as_user(_USER, initdb), check=True, timeout=60, capture_output=True, cwd=directory, env={})
    settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
    command = as_user(_USER, [_program("postgres"), "-D", data, "-p", str(port), *settings])
    with Server(command, directory.with_suffix(".log"), [port], signal.SIGINT) as server:
        postgresql = Postgresql(server, port)
        eventually(lambda: _answers(postgresql), "server that has started")
        ends = [
            *_sessions_at_once(postgresql),
            *_terminated(postgresql, busy=False),
            *_terminated(postgresql, busy=True),
            *_psql_is_killed(postgresql),
            *_psql_is_killed_while_it_receives(postgresql),
            *_backend_is_killed(postgresql),
        ]
        return [*ends, *_stopped(postgresql)]


def _program(name: str) -> Path:
    """Of the newest version; what is in the PATH may be a script that looks for it."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if not versions:
        raise RuntimeError("postgresql is not installed")
    return versions[-1] / name


class Psql:
    """An open session of psql."""

    def __init__(self, postgresql: Postgresql, client: Client) -> None:
        self._postgresql = postgresql
        self.client = client
        pid, port = client.ask("select pg_backend_pid(), inet_client_port();").split("|")
        self.port = int(port)
        self.backend = Process.of(int(pid))
        assert self.backend.comm == self.backend.executable == "postgres"
        assert self.backend.pid in children(postgresql.server.pid)

    def ask(self, question: str) -> str:
        """The one value that it answers a query with."""
        return self.client.ask(question)

    def backend_ends(self) -> None:
        """Wait until its backend has."""
        eventually(lambda: not Path(f"/proc/{self.backend.pid}").exists(), "end of the backend")

    def ends(self, scenario: str, closes_first: Side | None, **more: Any) -> list[ExpectedEnd]:
        """Both ends of its session: a backend leaves its closing to its own end."""
        session = Session(
            scenario, self.client.process, self.backend, self.port, self._postgresql.port,
            closes_first=closes_first, **more,
        )  # fmt: skip
        return session.ends()


def _client(postgresql: Postgresql) -> Client:
    arguments = ["-h", "127.0.0.1", "-p", str(postgresql.port), "-U", _USER, "-d", _USER, "-X", "-q", "-A", "-t"]
    return Client([_program("psql"), *arguments])


@contextmanager
def _psql(postgresql: Postgresql) -> Generator[Psql]:
    with _client(postgresql) as client:
        yield Psql(postgresql, client)


def _sessions_at_once(postgresql: Postgresql) -> list[ExpectedEnd]:
    """Each has its own backend; whether that or psql closes first after the goodbye is known on the wire."""
    ends: list[ExpectedEnd] = []
    with _psql(postgresql) as one, _psql(postgresql) as two, _psql(postgresql) as three:
        assert len({psql.backend.pid for psql in (one, two, three)}) == 3
        for psql in (two, one, three):
            assert psql.ask("select count(*) from pg_class;") != "0"
            psql.client.finish()
            ends += psql.ends("postgresql sessions at once", None)
    return ends


def _terminated(postgresql: Postgresql, *, busy: bool) -> list[ExpectedEnd]:
    """By pg_terminate_backend in another session.

    psql notices at once if it waits for an answer. Else it says goodbye later, to one who has gone, which is answered
    by a reset, and closes without having read the server's last words, which sends one: here and in the following
    scenarios either may come first.
    """
    with _psql(postgresql) as psql, _psql(postgresql) as other:
        pid = psql.backend.pid
        if busy:
            psql.client.say("select pg_sleep(60);")
            eventually(
                lambda: other.ask(f"select wait_event = 'PgSleep' from pg_stat_activity where pid = {pid};") == "t",
                "query under way",
            )
        assert other.ask(f"select pg_terminate_backend({pid});") == "t"
        psql.backend_ends()
        psql.client.finish(*([2] if busy else []))
        other.client.finish()
    if busy:
        return psql.ends("postgresql terminated while busy", "server")
    return psql.ends("postgresql terminated", "server", wire_knows="client")


def _psql_is_killed(postgresql: Postgresql) -> list[ExpectedEnd]:
    with _psql(postgresql) as psql:
        psql.client.signal(signal.SIGKILL)
        psql.client.finish(-signal.SIGKILL)
        psql.backend_ends()
    return psql.ends("postgresql psql killed", "client")


def _psql_is_killed_while_it_receives(postgresql: Postgresql) -> list[ExpectedEnd]:
    """With bytes that it has not read, since nobody reads what it writes: its kernel resets the session."""
    with _psql(postgresql) as psql, _psql(postgresql) as other:
        psql.client.say("\\copy (select repeat('x', 1000) from generate_series(1, 1000000)) to stdout")
        pid = psql.backend.pid
        eventually(
            lambda: other.ask(f"select wait_event = 'ClientWrite' from pg_stat_activity where pid = {pid};") == "t",
            "backend that cannot send more",
        )
        psql.client.signal(signal.SIGKILL)
        psql.client.finish(-signal.SIGKILL)
        psql.backend_ends()
        other.client.finish()
    special: Special = {
        "client": {"tcplife.close.reason": "local_reset"},
        "server": {"tcplife.close.reason": "peer_reset", "error.type": "ECONNRESET"},
    }
    return psql.ends("postgresql psql killed while it receives", None, special=special)


def _backend_is_killed(postgresql: Postgresql) -> list[ExpectedEnd]:
    """By SIGKILL: all others are ended by the server, which begins anew."""
    with _psql(postgresql) as psql, _psql(postgresql) as other:
        os.kill(psql.backend.pid, signal.SIGKILL)
        for each in (psql, other):
            each.backend_ends()
            each.client.finish()
    eventually(lambda: _answers(postgresql), "server that is back")
    return [
        *psql.ends("postgresql backend killed", "server", wire_knows="client"),
        *other.ends("postgresql backend of the killed", "server", wire_knows="client"),
    ]


def _answers(postgresql: Postgresql) -> bool:
    with _client(postgresql) as client:
        return client.ask("select 'here';") == "here"


def _stopped(postgresql: Postgresql) -> list[ExpectedEnd]:
    """In its fast mode, which SIGINT asks for, while a session is open."""
    with _psql(postgresql) as psql:
        postgresql.server.stop()
        psql.client.finish()
    return psql.ends("postgresql stopped", "server", wire_knows="client")
