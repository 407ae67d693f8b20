"""A fork that is not Python's runs no hook of Python's: a child inherits locks of threads that are not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_tcplife.export.sdk.record import ProviderMetrics
from otel_tcplife.instruments import PROBE_SESSIONS
from tests.plugin.traced import Receiver, wait_until
from tests.support.background_process import free_ports

_INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
_UWSGI = str(Path(sys.executable).with_name("pyuwsgi"))
_PATIENCE = 60.0

_FORKS_IN_C = """
import ctypes, os, socket, sys, threading
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_tcplife.tracing import start_tracing

logs = LoggerProvider()
logs.add_log_record_processor(BatchLogRecordProcessor(InMemoryLogRecordExporter()))
tracing = start_tracing(logger_provider=logs, meter_provider=MeterProvider([InMemoryMetricReader()]))
fork = ctypes.PyDLL(None).fork  # the thread keeps Python's lock meanwhile, as uWSGI's does
sys.setswitchinterval(60)  # and no other thread asks for it, which a child would wait for

def connect():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        while not ended.is_set():
            client = socket.create_connection(listener.getsockname())
            listener.accept()[0].close()
            client.close()

ended = threading.Event()
threading.Thread(target=connect).start()
for _ in range(60):
    child = fork()
    if not child:
        tracing.stop()
        os._exit(7 if tracing.is_tracing else 8)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
ended.set()
assert tracing.is_tracing
tracing.stop()
print("done")
"""


def test_in_the_child_of_a_fork_in_c_nothing_of_ours_waits() -> None:
    """Its parent reports its sessions, as those of all that it forks."""
    done = subprocess.run([sys.executable, "-c", _FORKS_IN_C], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


def test_in_such_a_child_no_counter_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts there is not its own, and may be locked for ever."""
    reader = InMemoryMetricReader()
    metrics = ProviderMetrics(MeterProvider([reader]))
    metrics.observe({PROBE_SESSIONS: lambda: [({}, 5)]})
    assert reader.get_metrics_data()
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    metrics.observe({PROBE_SESSIONS: lambda: [({}, 5)]})
    monkeypatch.undo()
    assert not reader.get_metrics_data()


_APPLICATION = """
import os
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter, SimpleLogRecordProcessor
from otel_tcplife.tracing import start_tracing

def trace():
    global tracing
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(ConsoleLogRecordExporter()))
    tracing = start_tracing(logger_provider=provider)

def application(environ, start_response):
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
_POSTFORK = "from uwsgidecorators import postfork\n" + _APPLICATION.replace("def trace", "@postfork\ndef trace")
_LAZY = _APPLICATION + "\ntrace()\n"
_NEITHER = _APPLICATION + "\ntry:\n    trace()\nexcept Exception as error:\n    print('refused:', error, flush=True)\n"


class _Uwsgi:
    """uWSGI with two workers and this application, inside its `with` block; what it prints goes to a file."""

    def __init__(
        self,
        directory: Path,
        application: str,
        *options: str,
        agent: bool = False,
        environ: Mapping[str, str] = {},
    ) -> None:
        (directory / "application.py").write_text(textwrap.dedent(application))
        [self._port] = free_ports(1)
        self._log = directory / "log"
        self._directory = directory
        options = (
            "--http-socket",
            f"127.0.0.1:{self._port}",
            "--master",
            "--processes",
            "2",
            "--enable-threads",
            *options,
        )
        command = [
            _UWSGI,
            *options,
            "--disable-logging",
            "--die-on-term",
            "--need-app",
            "--wsgi-file",
            "application.py",
        ]
        self._command = [_INSTRUMENT, *command] if agent else command
        self._environ = environ

    def __enter__(self) -> _Uwsgi:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        exporters = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "console", "OTEL_LOGS_EXPORTER": "none"}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._command],
                stdout=log, stderr=log, cwd=self._directory, env={**inherited, **exporters, **self._environ},
                start_new_session=True,
            )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def printed(self) -> str:
        """All that it and its workers have printed."""
        return self._log.read_text(errors="replace")

    def answers(self, workers: int) -> set[str]:
        """The workers that have answered, when so many have."""
        answered: set[str] = set()
        deadline = time.monotonic() + _PATIENCE
        while len(answered) < workers:
            assert time.monotonic() < deadline, self.printed
            done = subprocess.run(
                ["curl", "--silent", "--max-time", "5", f"http://127.0.0.1:{self._port}/"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.stdout:
                answered.add(done.stdout)
        return answered


@pytest.mark.parametrize("application", [_APPLICATION, _NEITHER], ids=["agent", "start_tracing()"])
def test_uwsgi_is_declined_in_one_line_before_it_forks(application: str, tmp_path: Path) -> None:
    with _Uwsgi(tmp_path, application, agent=application == _APPLICATION) as uwsgi:
        assert len(uwsgi.answers(workers=2)) == 2
    lines = [line for line in uwsgi.printed.splitlines() if "uWSGI forks its workers otherwise than Python" in line]
    assert len(lines) == 1
    assert "uwsgidecorators.postfork" in lines[0]


@pytest.mark.parametrize("loaded", ["in each worker", "before the fork"])
def test_under_uwsgi_each_worker_traces_itself(loaded: str, tmp_path: Path) -> None:
    lazy = loaded == "in each worker"
    with _Uwsgi(tmp_path, _LAZY if lazy else _POSTFORK, *(["--lazy-apps"] if lazy else [])) as uwsgi:
        workers = uwsgi.answers(workers=2)

        def reported() -> set[str]:
            return set(re.findall(r'"process.pid": ([0-9]+)', uwsgi.printed)) & workers

        deadline = time.monotonic() + _PATIENCE
        while reported() != workers:
            assert time.monotonic() < deadline, uwsgi.printed
            uwsgi.answers(workers=1)
            time.sleep(0.1)
    assert "cannot" not in uwsgi.printed


def test_under_uwsgi_a_helper_reports_all_workers(tmp_path: Path) -> None:
    """It needs no hook of Python's."""
    with Receiver(tmp_path) as receiver:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
        }
        with _Uwsgi(tmp_path, _APPLICATION, agent=True, environ=environ) as uwsgi:
            workers = {int(worker) for worker in uwsgi.answers(workers=2)}
            wait_until(lambda: workers <= {end.pid for end in receiver.ends()}, lambda: uwsgi.printed)
    assert "cannot" not in uwsgi.printed
