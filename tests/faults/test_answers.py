"""Every answer that a receiver may give: of each record it is known what became of it, with the spool and without."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.balance import Balance, check_balance, read_balance
from tests.faults.grpc_answers import grpc_answers
from tests.faults.http_answers import TIMEOUT, http_answers
from tests.faults.metrics import counted_sessions
from tests.faults.receiving import GrpcScripted, HttpScripted, Script
from tests.faults.replaying import Replaying

_REQUEST_BYTES = 20_000
"""For requests of some thirty records, so that there are more of them than answers."""
_SESSIONS = 4000
_MEGABYTE = 1 << 20

_WAYS = [(protocol, spool) for protocol in ("http/protobuf", "grpc") for spool in ("no spool", "a spool")]


@dataclass(frozen=True)
class _Run:
    """The command to its end, with a receiver that gives all answers."""

    receiver: HttpScripted | GrpcScripted
    balance: Balance
    said: list[str]
    most_memory: int


def _run(protocol: str, directory: Path | None) -> _Run:
    receiver = GrpcScripted(Script(grpc_answers())) if protocol == "grpc" else HttpScripted(Script(http_answers()))
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TIMEOUT": str(TIMEOUT),
        "OTEL_PYTHON_TCPLIFE_REQUEST_BYTES": str(_REQUEST_BYTES),
        **({"OTEL_PYTHON_TCPLIFE_SPOOL": str(directory)} if directory else {}),
    }
    with receiver, Replaying(env) as command:
        command.feed(range(_SESSIONS), header=True)
        command.wait_until(lambda: receiver.script.settled >= _SESSIONS)
        most_memory = command.most_memory
        assert command.end() == 0
    return _Run(receiver, read_balance(command.said), command.said, most_memory)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[tuple[str, str], Future[_Run]]]:
    """All at once, as they wait most of the time."""
    with ThreadPoolExecutor(len(_WAYS)) as pool:
        yield {
            (protocol, spool): pool.submit(
                _run, protocol, tmp_path_factory.mktemp("spool") if spool == "a spool" else None
            )
            for protocol, spool in _WAYS
        }


@pytest.mark.parametrize(("protocol", "spool"), _WAYS)
def test_each_answer_is_heeded(protocol: str, spool: str, runs: dict[tuple[str, str], Future[_Run]]) -> None:
    run = runs[protocol, spool].result()
    script = run.receiver.script
    script.check()
    assert not run.balance.waiting
    assert sum(outcomes["rejected"] for outcomes in run.balance.sinks.values()) == len(script.rejected)
    assert sorted([*script.acknowledged, *script.rejected]) == list(range(_SESSIONS))
    check_balance([run.balance], script.acknowledged)
    assert (run.balance.sinks["otlp"]["spooled"] > 0) == (spool == "a spool")
    assert counted_sessions(run.receiver.requests) == _SESSIONS
    assert run.most_memory < 200 * _MEGABYTE
    assert not any("Traceback" in line for line in run.said)
