"""At its exit, an application waits two seconds at most for what the SDK still holds of ours."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.otlp_receiver import PROTOBUF, Answer, HttpHandler, HttpReceiver
from tests.support.patience import PATIENCE
from tests.support.received import read_requests

_INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))

_SESSION = """
import socket, time
with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
    pass
"""
_RECORDS = """
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
for number in range(200):
    get_logger("mine").emit(LogRecord(body=str(number), severity_number=SeverityNumber.INFO))
"""
_END = "print(time.time(), flush=True)"

_SDK_WAITS = 30.0
"""Seconds that the SDK's shutdown waits at least for a batch processor that hangs."""


def _seconds_of_exit(application: str, receiver: HttpReceiver, **environ: str) -> float:
    """How long an application under the agent takes from its last line to its end."""
    done = subprocess.run(
        [_INSTRUMENT, sys.executable, "-c", application + _END],
        stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE + 2 * _SDK_WAITS,
        env={
            "PATH": "/usr/bin:/bin",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_PYTHON_TCPLIFE_EXPORT": "providers",
            **environ,
        },
    )  # fmt: skip
    return time.time() - float(done.stdout)


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_a_receiver_that_does_not_answer_holds_up_no_exit(signal: str) -> None:
    over = threading.Event()

    def act(handler: HttpHandler) -> None:
        if handler.request_got.signal == signal:
            over.wait(PATIENCE + 2 * _SDK_WAITS)
        else:
            handler.give(Answer(200, PROTOBUF))

    with HttpReceiver() as receiver:
        receiver.act = act
        try:
            seconds = _seconds_of_exit(_SESSION, receiver, OTEL_EXPORTER_OTLP_TIMEOUT="600")
        finally:
            over.set()
    assert seconds < _SDK_WAITS


def test_records_of_the_application_itself_have_the_time_that_the_sdk_gives_them() -> None:
    def act(handler: HttpHandler) -> None:
        time.sleep(1)
        handler.give(Answer(200, PROTOBUF))

    with HttpReceiver() as receiver:
        receiver.act = act
        _seconds_of_exit(_SESSION + _RECORDS, receiver, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="50")
    logs = read_requests(request.as_json() for request in receiver.requests if request.signal == "logs").logs
    assert {log.body for log in logs if log.scope_name == "mine"} == {str(number) for number in range(200)}
    assert [log for log in logs if log.scope_name == "otel_tcplife"]
