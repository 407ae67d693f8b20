"""Whatever is missing or goes wrong, the application runs as if we were not there, and is told in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from otel_tcplife import tracing
from otel_tcplife.instrumentor import TcplifeInstrumentor
from tests.support.otlp_receiver import HttpReceiver

INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))

_APPLICATION = """
import json, os, socket, threading
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
client.close()
ours = [thread.name for thread in threading.enumerate() if thread.name.startswith("tcplife")]
print(json.dumps({"bpf": sum("bpf" in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                             if os.path.lexists(f"/proc/self/fd/{fd}")), "ours": ours}))
"""


def _run(application: str, environ: Mapping[str, str] = {}, within: Sequence[str] = ()) -> tuple[str, list[str]]:
    """What an application under the agent prints, and the lines that it says."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    exporters = {
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_TCPLIFE_EXPORT": "providers",
    }
    with HttpReceiver() as receiver:
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
        done = subprocess.run(
            [*within, INSTRUMENT, sys.executable, "-c", application],
            capture_output=True, text=True, check=False, env={**inherited, **exporters, **where, **environ},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


def test_with_all_there_it_traces_and_says_nothing() -> None:
    printed, said = _run(_APPLICATION)
    assert json.loads(printed)["bpf"]
    assert json.loads(printed)["ours"] == ["tcplife-providers", "tcplife-reader"]
    assert not said


_WITHOUT_BCC = "mount -t tmpfs none \"$(/usr/bin/python3 -c 'import bcc; print(bcc.__path__[0])')\""

_MISSING: dict[str, tuple[list[str], str, str]] = {
    "privileges": (
        ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-bpf,-perfmon,-sys_admin"],
        "may not load BPF programs",
        "have what started it leave it these (CapabilityBoundingSet= of a unit, --cap-add of a container)",
    ),
    "BTF": (
        ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"'],
        "/sys/kernel/btf/vmlinux",
        "CONFIG_DEBUG_INFO_BTF",
    ),
    "bcc": (
        ["unshare", "--mount", "sh", "-c", f'{_WITHOUT_BCC} && exec "$0" "$@"'],
        "no Python with bcc found",
        "apt install python3-bpfcc",
    ),
    "a kernel that can": (["setarch", "--uname-2.6"], "Linux 2.6", "run Linux 5.8 or newer"),
}


@pytest.mark.parametrize("missing", _MISSING)
def test_what_is_missing_is_one_line_with_the_remedy(missing: str) -> None:
    within, problem, remedy = _MISSING[missing]
    _does_not_trace({"OTEL_PYTHON_TCPLIFE_CACHE": "none"}, within, problem, remedy)


@pytest.mark.parametrize("missing", ["BTF", "bcc"])
def test_what_only_compiling_needs_may_be_missing_at_the_next_start(missing: str) -> None:
    for within in ([], _MISSING[missing][0]):
        printed, said = _run(_APPLICATION, within=within)
        assert json.loads(printed)["bpf"]
        assert not said


@pytest.mark.parametrize(
    ("environ", "problem", "remedy"),
    [
        ({"OTEL_PYTHON_TCPLIFE_SCOPE": "all"}, "OTEL_PYTHON_TCPLIFE_SCOPE: unknown scope 'all'", "use process or host"),
        ({"OTEL_PYTHON_TCPLIFE_LOCAL_PORTS": "http"}, "_LOCAL_PORTS: 'http' is not a port", "give a number from 1 to"),
        ({"OTEL_PYTHON_TCPLIFE_INTERIM": "1m"}, "_INTERIM: '1m' is not a time", "give a number of seconds"),
    ],
)
def test_what_cannot_be_meant_is_one_line_with_the_remedy(environ: dict[str, str], problem: str, remedy: str) -> None:
    _does_not_trace(environ, (), problem, remedy)


def _does_not_trace(environ: Mapping[str, str], within: Sequence[str], problem: str, remedy: str) -> None:
    printed, [said] = _run(_APPLICATION, environ, within)
    assert json.loads(printed) == {"bpf": 0, "ours": []}
    assert said.startswith("otel-tcplife: cannot trace: ")
    assert problem in said
    assert remedy in said


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask, tcplife"},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
        {"OTEL_SDK_DISABLED": "true"},
    ],
)
def test_where_it_is_not_wanted_it_is_not_there(environ: dict[str, str]) -> None:
    printed, said = _run(_APPLICATION, environ)
    assert json.loads(printed) == {"bpf": 0, "ours": []}
    assert not said


@pytest.mark.parametrize("export", ["auto", "providers"])
def test_where_nothing_is_exported_it_says_so_and_does_not_trace(export: str) -> None:
    environ = {"OTEL_METRICS_EXPORTER": "none", "OTEL_PYTHON_TCPLIFE_EXPORT": export}
    problem, remedy = "neither logs nor metrics are exported", "set OTEL_LOGS_EXPORTER or OTEL_METRICS_EXPORTER"
    _does_not_trace(environ, (), problem, remedy)


def test_where_no_sdk_is_set_up_it_says_how_to() -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    application = _INSTRUMENTS_ITSELF % "" + _APPLICATION
    done = subprocess.run(
        [sys.executable, "-c", application], capture_output=True, text=True, check=True, env=inherited
    )
    assert json.loads(done.stdout) == {"bpf": 0, "ours": []}
    [said] = done.stderr.splitlines()
    assert said.startswith("otel-tcplife: cannot trace: no OpenTelemetry SDK is set up here")
    assert "pip install opentelemetry-distro" in said


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"OTEL_LOGS_EXPORTER": "console"}, "OTEL_LOGS_EXPORTER is 'console'"),
        ({"OTEL_PYTHON_TCPLIFE_SCOPE": "host"}, "the scope is host"),
    ],
)
def test_a_helper_that_is_asked_for_and_cannot_be_is_one_line(environ: dict[str, str], why: str) -> None:
    problem = f"OTEL_PYTHON_TCPLIFE_EXPORT=helper cannot be: {why}"
    _does_not_trace({"OTEL_PYTHON_TCPLIFE_EXPORT": "helper", **environ}, (), problem, "leave it out")


@pytest.mark.parametrize("missing", ["privileges", "bcc"])
def test_what_the_helper_misses_is_the_same_line(missing: str) -> None:
    within, problem, remedy = _MISSING[missing]
    environ = {"OTEL_PYTHON_TCPLIFE_EXPORT": "auto", "OTEL_PYTHON_TCPLIFE_CACHE": "none"}
    _does_not_trace(environ, within, problem, remedy)


def test_what_the_helper_cannot_import_is_one_line(tmp_path: Path) -> None:
    """Such as a package that was built for another Python; the application itself may not need it."""
    (tmp_path / "numpy.py").write_text("raise ImportError('made for another Python')")
    environ = {"OTEL_PYTHON_TCPLIFE_EXPORT": "auto", "PYTHONPATH": str(tmp_path)}
    _does_not_trace(environ, (), "ImportError: made for another Python", "")


def test_what_no_helper_can_read_the_providers_may() -> None:
    """The SDK leaves out what is no header, and says so."""
    environ = {"OTEL_PYTHON_TCPLIFE_EXPORT": "auto", "OTEL_EXPORTER_OTLP_HEADERS": "no header at all"}
    printed, said = _run(_APPLICATION, environ)
    assert json.loads(printed)["ours"] == ["tcplife-providers", "tcplife-reader"]
    assert not [line for line in said if line.startswith("otel-tcplife")]


_INSTRUMENTS_ITSELF = """
from otel_tcplife.instrumentor import TcplifeInstrumentor
instrumentor = TcplifeInstrumentor()
for _ in range(3):
    instrumentor.instrument(%s)
    TcplifeInstrumentor().instrument()
"""


def test_the_list_of_the_disabled_is_heeded_by_an_application_that_instruments_itself() -> None:
    environ = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "tcplife"}
    printed, said = _run(_INSTRUMENTS_ITSELF % "" + _APPLICATION, environ)
    assert json.loads(printed) == {"bpf": 0, "ours": []}
    assert not said


def test_an_option_that_there_is_not_is_one_line() -> None:
    application = _INSTRUMENTS_ITSELF % "ports=80" + _APPLICATION
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", application], capture_output=True, text=True, check=True, env=inherited
    )
    assert json.loads(done.stdout) == {"bpf": 0, "ours": []}
    [said] = done.stderr.splitlines()
    assert said.startswith("otel-tcplife: cannot trace: there is no option 'ports'; use one of scope, ")


_HANGS = """
import threading
from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LogRecordProcessor
class Hangs(LogRecordProcessor):
    def on_emit(self, log_record): threading.Event().wait()
    emit = on_emit
    def shutdown(self): pass
    def force_flush(self, timeout_millis=0): return True
get_logger_provider().add_log_record_processor(Hangs())
"""


def test_a_processor_that_hangs_holds_up_no_exit() -> None:
    printed, said = _run(_HANGS + _APPLICATION)
    assert json.loads(printed)["bpf"]
    assert not said


_GIVES_UP_ITS_PRIVILEGES = """
import encodings.idna, logging, os, socket, struct
logging.basicConfig(format="%(message)s")
logging.getLogger("otel_tcplife").setLevel(logging.DEBUG)
os.setuid(65534)
listener = socket.create_server(("127.0.0.1", 0))
for reset in (False, True):
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
    client.close()
    if not reset:  # else the kernel waits for us to close it, to tell whose it was
        accepted.close()
"""


def test_an_application_may_give_up_its_privileges() -> None:
    """It may read what the kernel hands over then, but not look for what that still keeps."""
    _, said = _run(_GIVES_UP_ITS_PRIVILEGES)
    assert said == [
        "otel-tcplife: 4 sessions ended: 3 submitted, 1 unclaimed",
        "otel-tcplife: providers: 3 disabled",
    ]


_STARTS_ANOTHER_PYTHON = {
    "to clean up": """
from multiprocessing import resource_tracker
resource_tracker.ensure_running()
resource_tracker._resource_tracker._stop()
""",
    "to work": """
import multiprocessing
child = multiprocessing.get_context("spawn").Process(target=print)
child.start()
child.join()
""",
}


@pytest.mark.parametrize("why", _STARTS_ANOTHER_PYTHON)
def test_what_multiprocessing_starts_is_traced_unless_it_only_cleans_up(why: str) -> None:
    """Who tries to trace is told that it may not."""
    within, problem, _ = _MISSING["privileges"]
    _, said = _run(_STARTS_ANOTHER_PYTHON[why], within=within)
    assert all(problem in line for line in said)
    assert len(said) == {"to clean up": 1, "to work": 2}[why]


@pytest.mark.parametrize(
    ("code", "cleans_up"),
    [
        ("from multiprocessing.resource_tracker import main;main(5)", True),
        ("from joblib.externals.loky.backend.resource_tracker import main; main(5, False)", True),
        ("from multiprocessing.forkserver import main; main(5, 6, ['__main__'], **{})", False),
        ("from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)", False),
    ],
)
def test_which_command_lines_those_are(code: str, cleans_up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-B", "-c", code, "--multiprocessing-fork"])
    started: list[object] = []

    def start(**options: object) -> None:
        started.append(options)

    monkeypatch.setattr(tracing, "start_tracing", start)
    plugin = TcplifeInstrumentor()
    plugin.instrument()
    plugin.uninstrument()
    assert bool(started) != cleans_up
