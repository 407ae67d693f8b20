"""The command is killed at random moments: what it has booked as spooled or exported is not lost."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.faults.balance import read_balance
from tests.faults.http_answers import away
from tests.faults.metrics import booked
from tests.faults.receiving import GrpcScripted, HttpScripted, Script
from tests.faults.replaying import Replaying
from tests.support.otlp_receiver import HttpReceiver

_KILLS = 5
"""The receiver is away at the first, the third and the last one."""
_SESSIONS = 3000
"""Of each run: more than a kill can come too late for."""


def _grpc_away(context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.UNAVAILABLE, "away")


@dataclass(frozen=True)
class _Killed:
    """What a run had come to when it was killed."""

    numbers: range
    """What it was fed."""
    booked: int
    """How many of these its last metrics have as exported or spooled: the first ones, as it keeps their order."""


def _killed_runs(receiver: HttpScripted | GrpcScripted, env: dict[str, str], chance: random.Random) -> list[_Killed]:
    """Each is killed at a random moment, some of them while the receiver is away."""
    is_away = _grpc_away if isinstance(receiver, GrpcScripted) else away
    runs: list[_Killed] = []
    for run in range(_KILLS):
        numbers = range(run * _SESSIONS, (run + 1) * _SESSIONS)
        receiver.script.away = is_away if run % 2 == 0 else None  # pyright: ignore[reportAttributeAccessIssue]
        with HttpReceiver() as metrics:
            env = {**env, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{metrics.endpoint}/v1/metrics"}
            with Replaying(env) as command:
                command.feed(numbers, header=True)
                wanted = chance.randrange(_SESSIONS)
                command.wait_until(lambda wanted=wanted, metrics=metrics: _kept(metrics) > wanted)
                time.sleep(chance.uniform(0, 0.3))
                command.kill()
            runs.append(_Killed(numbers, _kept(metrics)))
    receiver.script.away = None
    return runs


def _kept(metrics: HttpReceiver) -> int:
    outcomes = booked([*metrics.requests])
    return outcomes["exported"] + outcomes["spooled"]


def _run_through(protocol: str, directory: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"{protocol}: seed {seed}")
    receiver = GrpcScripted(Script()) if protocol == "grpc" else HttpScripted(Script())
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        "OTEL_METRIC_EXPORT_INTERVAL": "20",
        "OTEL_PYTHON_TCPLIFE_REQUEST_BYTES": "100000",
        "OTEL_PYTHON_TCPLIFE_SPOOL": str(directory),
    }
    with receiver:
        killed = _killed_runs(receiver, env, random.Random(seed))
        own = range(_KILLS * _SESSIONS, _KILLS * _SESSIONS + 10)
        with Replaying({**env, "OTEL_METRICS_EXPORTER": "none"}) as last:
            last.feed(own, header=True)
            last.wait_until(lambda: {*own} <= {*receiver.script.acknowledged})
            assert last.end() == 0
    balance = read_balance(last.said)
    balance.check()
    assert balance.waiting == 0
    assert balance.found > 0
    assert receiver.script.came_again <= _KILLS, "one request for each kill comes twice at most"
    _check(killed, {*receiver.script.acknowledged})


def _check(killed: list[_Killed], have: set[int]) -> None:
    for run in killed:
        assert run.booked > 0
        missing = [number for number in run.numbers[: run.booked] if number not in have]
        assert not missing, f"booked as kept, and lost: {missing[:5]} of {run}"
        arrived = sum(number in have for number in run.numbers)
        assert {*run.numbers[:arrived]} <= have, "what was in memory is the end of what there was"


def test_what_is_kept_is_not_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(_run_through, protocol, tmp_path / protocol[:4]) for protocol in ("http/protobuf", "grpc")]
    for run in runs:
        run.result()
