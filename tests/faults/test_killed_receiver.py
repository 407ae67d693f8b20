"""A receiver that is killed at random moments, or stopped, and comes back: each record is exported once."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.faults.balance import Balance, read_balance
from tests.faults.journal import Journal, ReceiverProcess
from tests.faults.metrics import counted_sessions
from tests.faults.replaying import Replaying
from tests.support.otlp_receiver import HttpReceiver

_TIMES = 2
_SESSIONS = 20_000


def _env(receiver: ReceiverProcess, protocol: str, metrics: HttpReceiver, spool: Path | None) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{receiver.endpoint}{'' if protocol == 'grpc' else '/v1/logs'}",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{metrics.endpoint}/v1/metrics",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_PYTHON_TCPLIFE_REQUEST_BYTES": "100000",
        **({"OTEL_PYTHON_TCPLIFE_SPOOL": str(spool)} if spool else {}),
    }


def _feed(command: Replaying, numbers: range, done: threading.Event) -> None:
    """In small portions, so that some are on their way at each moment."""
    for start in range(numbers.start, numbers.stop, 100):
        command.feed(numbers[start - numbers.start :][:100])
        time.sleep(0.01)
    done.set()


def _run_through(protocol: str, directory: Path, spool: Path | None) -> tuple[Balance, Journal, int]:
    """Have the receiver killed, or paused, again and again while it is sent to."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with ReceiverProcess(protocol, directory / "journal") as receiver, HttpReceiver() as metrics:
        with Replaying(_env(receiver, protocol, metrics, spool)) as command:
            fed = threading.Event()
            command.feed(range(0), header=True)
            feeder = threading.Thread(target=_feed, args=(command, range(_SESSIONS), fed))
            feeder.start()
            for _ in range(_TIMES):
                time.sleep(chance.uniform(0, 0.6))
                receiver.kill()
                time.sleep(chance.uniform(0, 0.3))
                receiver.start()
                time.sleep(chance.uniform(0, 0.6))
                receiver.pause()
                time.sleep(chance.uniform(0.5, 1.5))
                receiver.go_on()
            feeder.join()
            command.wait_until(lambda: len({*receiver.journal.acknowledged}) == _SESSIONS)
            assert command.end() == 0
        return read_balance(command.said), receiver.journal, counted_sessions(metrics.requests)


def test_each_record_is_exported_once(tmp_path: Path) -> None:
    """It has a request again at most for each time that it went away with one that it had not answered yet.

    A second time where it was paused for longer than the sender waits for an answer.
    """
    ways = [(protocol, is_spooled) for protocol in ("http/protobuf", "grpc") for is_spooled in (False, True)]
    with ThreadPoolExecutor(len(ways)) as pool:
        runs: list[Future[tuple[Balance, Journal, int]]] = []
        for number, (protocol, is_spooled) in enumerate(ways):
            directory = tmp_path / str(number)
            directory.mkdir()
            runs.append(pool.submit(_run_through, protocol, directory, directory / "spool" if is_spooled else None))
    for run in runs:
        balance, journal, counted = run.result()
        balance.check()
        assert balance.seen == balance.exported == counted == _SESSIONS
        assert {*journal.acknowledged} == {*range(_SESSIONS)}
        assert journal.came_again() <= 4 * _TIMES
