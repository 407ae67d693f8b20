"""The engine of ClickHouse behind HTTP, which is what the Collector inserts into, run by a test."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
from typing_extensions import Self

from tests.distros.environments import environment
from tests.support.background_process import BackgroundProcess, free_ports

_CHECKOUT = Path(__file__).resolve().parents[2]
_USER, _PASSWORD = "collector", "a secret: 100%"
_DATABASE = "otel_tcplife"


@contextmanager
def chdb() -> Generator[Path]:
    """A Python that has it, and what compresses as ClickHouse does."""
    with environment("chdb", ["chdb==4.4.0", "lz4==4.4.5", "clickhouse-cityhash==1.0.2.6"]) as binaries:
        yield binaries / "python"


class ClickHouse:
    """A server on a free loopback port, running inside its `with` block. The next block has what this one stored."""

    def __init__(self, directory: Path) -> None:
        [self._port] = free_ports(1)
        self._url = f"http://127.0.0.1:{self._port}"
        self._directory = directory
        self.environ = {
            "OTEL_TCPLIFE_COLLECTOR_CLICKHOUSE": self._url,
            "OTEL_TCPLIFE_COLLECTOR_CLICKHOUSE_USER": _USER,
            "OTEL_TCPLIFE_COLLECTOR_CLICKHOUSE_PASSWORD": _PASSWORD,
        }
        """What clickhouse.yaml reads."""

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        data, log = str(self._directory / "data"), self._directory / "clickhouse.log"
        with ExitStack() as running:
            python = running.enter_context(chdb())
            command = [python, "-m", "tests.fleet.clickhouse_main", str(self._port), data, _USER, _PASSWORD]
            env = {"PYTHONPATH": str(_CHECKOUT)}
            running.callback(BackgroundProcess(command, log=log, env=env, ports=[self._port]).stop)
            self._running = running.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def run(self, statement: str) -> str:
        """Its answer to a statement, of rows as JSON; RuntimeError where that is an error."""
        asked = {"default_format": "JSON", "database": _DATABASE}
        answer = requests.post(self._url, statement.encode(), params=asked, auth=(_USER, _PASSWORD))
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
        return answer.text

    def query(self, query: str) -> list[dict[str, Any]]:
        """Its rows."""
        return json.loads(self.run(query))["data"]
