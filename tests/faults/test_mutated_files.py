"""Whatever stands in a file or in the environment, it is read, counted as unreadable, or refused in one line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.request import Request
from otel_tcplife.export.otlp.spool import Spool
from otel_tcplife.options import OPTIONS
from otel_tcplife.pipeline.destinations import read_destinations
from otel_tcplife.replay.source import ReplaySource
from tests.faults.mutations import EXAMPLES, mutated
from tests.faults.numbered import HEADER, rows

_MUTATING = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

Result = TypeVar("Result")

_TABLE = b"""TIME(s)   PID   COMM       LADDR           LPORT RADDR           RPORT TX_KB RX_KB MS
0.000000  22597 recordProg 127.0.0.1       46644 127.0.0.1       28527     0     0 0.23
0.000158  3277  redis-serv fe80::1         28527 127.0.0.1       46644     1     2 0.28
"""


def _unless_refused(act: Callable[[], Result]) -> tuple[Result | None, str]:
    """What it returns, or why it is refused."""
    try:
        return act(), ""
    except BadUsage as error:
        return None, str(error)


@_MUTATING
@given(content=mutated([(HEADER + rows(range(5))).encode(), _TABLE]))
def test_recordings(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recording"
    path.write_bytes(content)
    source, refused = _unless_refused(lambda: ReplaySource(str(path)))
    assert "\n" not in refused
    if not source:
        return
    sessions = 0
    while not source.ended:
        sessions += len(source.read())
    source.drain()
    source.close()
    stats = source.stats()
    assert stats.outcomes["submitted"] == sessions
    assert sum(stats.outcomes.values()) == stats.seen


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """The files of a spool as kill -9 leaves them, with a log that is written ahead."""
    directory = tmp_path_factory.mktemp("killed")
    spool = Spool(str(directory / "spool"), 1 << 20)
    for number in range(60):
        spool.add("otlp", [Request(number.to_bytes(4, "big") * 20, 1)])
    for _ in range(10):
        waiting = spool.oldest("otlp")
        assert waiting
        spool.settle(waiting, [])
    found = {name: (directory / "spool" / name).read_bytes() for name in ("spool.db", "spool.db-wal")}
    spool.close()
    return found


@_MUTATING
@given(data=st.data())
def test_spools(tmp_path_factory: pytest.TempPathFactory, killed: Mapping[str, bytes], data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("spool")
    for name, content in killed.items():
        (directory / name).write_bytes(data.draw(mutated([content])))
    spool = Spool(str(directory), 1 << 20)
    added = spool.add("otlp", [Request(b"new", 1)])
    bodies: list[bytes] = []
    while waiting := spool.oldest("otlp"):
        bodies.append(bytes(waiting.request.body))
        spool.settle(waiting, [])
    assert bodies[-1] == added.request.body
    numbers = [int.from_bytes(body[:4], "big") for body in bodies[:-1]]
    assert numbers == sorted({*numbers})
    assert all(body == number.to_bytes(4, "big") * 20 for number, body in zip(numbers, bodies))
    assert {*numbers} <= {*range(60)}
    spool.close()
    shutil.rmtree(directory)


_VALUES: dict[str, list[bytes]] = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": [b"http://collector:4318", b"https://[::1]:4317/x?y#z", b"collector:4317"],
    "OTEL_EXPORTER_OTLP_HEADERS": [b"authorization=Basic%20eA==,x=y", b"a=b"],
    "OTEL_EXPORTER_OTLP_PROTOCOL": [b"http/protobuf", b"grpc"],
    "OTEL_EXPORTER_OTLP_COMPRESSION": [b"gzip", b"deflate", b"none"],
    "OTEL_EXPORTER_OTLP_TIMEOUT": [b"10", b"0.5"],
    "OTEL_EXPORTER_OTLP_INSECURE": [b"true", b"false"],
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": [b"delta", b"cumulative"],
    "OTEL_METRIC_EXPORT_INTERVAL": [b"60000"],
    "OTEL_RESOURCE_ATTRIBUTES": [b"service.name=a,b=c%20d"],
    "OTEL_SERVICE_NAME": [b"name"],
    "OTEL_LOGS_EXPORTER": [b"otlp", b"none", b"console"],
    "OTEL_METRICS_EXPORTER": [b"otlp", b"none"],
    "OTEL_SDK_DISABLED": [b"true", b"false"],
    "https_proxy": [b"http://user:secret@proxy:3128"],
    **{
        f"OTEL_PYTHON_TCPLIFE_{name}": [b"1000000", b"80,443", b"0.5", b"/var/spool/x"]
        for name in ("REQUEST_BYTES", "MAX_QUEUE_SIZE", "SPOOL", "SPOOL_BYTES", "FILE_BYTES", "INTERIM", "LOCAL_PORTS")
    },
}


def _environment(values: dict[str, bytes]) -> dict[str, str]:
    return {name: os.fsdecode(value.replace(b"\0", b"")) for name, value in values.items()}


@_MUTATING
@given(
    values=st.fixed_dictionaries({}, optional={name: mutated(bases) for name, bases in _VALUES.items()}).map(
        _environment
    )
)
def test_environments(values: dict[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with patch.dict(os.environ, {**kept, **values}, clear=True):
        _, refused = _unless_refused(lambda: (read_destinations(None), [each.read(os.environ) for each in OPTIONS]))
    assert "\n" not in refused
    assert "secret" not in refused
