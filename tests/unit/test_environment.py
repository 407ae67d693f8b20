"""Whatever a variable of the environment is set to, the command runs, or says in one line why it does not.

The variables are all that this process reads: those that the SDK and the API declare, those of tcplife, and those that
requests, urllib3 and gRPC read by themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import opentelemetry.environment_variables
import opentelemetry.sdk.environment_variables
import pytest

from otel_tcplife import environment_variables, host_agent
from otel_tcplife.cli import main
from otel_tcplife.pipeline.limits import COMMAND
from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver

RECORDING = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS\n7,curl,4,10.0.0.1,4000,10.0.0.2,80,3,5,0.26\n"

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept")

# Of traces, which there are none here
_NOT_OURS = ("TRACE", "SPAN", "BSP", "LINK", "EVENT", "JAEGER", "ZIPKIN")
_DECLARED = {
    str(value)
    for module in (opentelemetry.environment_variables, opentelemetry.sdk.environment_variables, environment_variables)
    for name, value in vars(module).items()
    if name.lstrip("_").startswith("OTEL_") and not any(part in name for part in _NOT_OURS)
}
_OF_OTHERS = {
    "CURL_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "GRPC_POLL_STRATEGY",
    "GRPC_VERBOSITY",
    "NETRC",
    "NO_PROXY",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES",
    "REQUESTS_CA_BUNDLE",
    "SSLKEYLOGFILE",
    "no_grpc_proxy",
}
# A name that may be that of a host is looked up for as long as it takes
_ADDRESSES = {name for name in _DECLARED if name.endswith("_ENDPOINT")} | {
    f"{of}_proxy" for of in ("http", "https", "all", "grpc")
}

_ODD = ["", " ", "-1", "0", "nan", "inf", "1e300", "9" * 30, "text", "s\udcfcd", "a\nb", "\x1b[2J", "=", ","]
_ODD_ADDRESSES = [
    *["s\udcfcd", "a\nb", "\x1b", "=", "http://", "http://[", "http://h:99999", "u:s3cret/x@h:1/"],
    *["http://u:s3cret/x@h:1", "http://u:1/s3cret@h:1", "http://u:s3cret@", "dns://s3cret/h", "//u:s3cret@h"],
]


@pytest.fixture(autouse=True)
def _recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host_agent, "COMMAND", replace(COMMAND, schedule_delay=0))
    (tmp_path / "recording.csv").write_text(RECORDING)


@pytest.fixture
def died(monkeypatch: pytest.MonkeyPatch) -> list[threading.ExceptHookArgs]:
    """Errors that have ended a thread."""
    errors: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    return errors


Run = Callable[[Mapping[str, str]], None]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], died: list[threading.ExceptHookArgs]) -> Run:
    """Replays with these variables, and checks what comes of that."""

    def command(environ: Mapping[str, str]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            code = main(["--no-table", "--replay", "recording.csv"])
        shown, said = capfd.readouterr()
        told = f"{environ}: {code}, {said}"
        assert code in (0, 2), told
        assert "Traceback" not in shown + said, told
        assert "s3cret" not in said, told
        assert said.replace("\n", "").isprintable(), told
        if code == 2:
            assert len(said.splitlines()) == 1, told
            assert said.startswith("otel-tcplife: "), told
            assert "; " in said, told
        assert not died, told

    return command


def _odd(variable: str) -> list[str]:
    """Without an empty endpoint, which is the default one, where nobody may be."""
    if variable in _ADDRESSES:
        return _ODD_ADDRESSES if variable.endswith("_ENDPOINT") else ["", " ", *_ODD_ADDRESSES]
    return _ODD


EVERYWHERE = {"OTEL_LOGS_EXPORTER": "otlp,console", "OTEL_METRICS_EXPORTER": "otlp,console"}


@pytest.mark.parametrize("variable", sorted(_DECLARED | _OF_OTHERS | _ADDRESSES))
def test_any_value_over_http_and_to_the_console(variable: str, run: Run, http_receiver: HttpReceiver) -> None:
    there = {**EVERYWHERE, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{http_receiver.address}"}
    for value in _odd(variable):
        run({**there, variable: value})


@pytest.mark.parametrize("variable", sorted(_DECLARED | _OF_OTHERS | _ADDRESSES))
def test_any_value_over_grpc(variable: str, run: Run, grpc_receiver: GrpcReceiver) -> None:
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{grpc_receiver.address}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    for value in _odd(variable):
        if variable != "OTEL_EXPORTER_OTLP_PROTOCOL" or value.strip():  # else it would be HTTP
            run({**there, variable: value})


@pytest.mark.parametrize(
    "variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]
)
@pytest.mark.parametrize("value", ["s\udcfcd/x", "/", "/no/such", "/dev/null", "$HOME/x/y"])
def test_any_file_of_tls(variable: str, value: str, run: Run) -> None:
    there = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_TIMEOUT": "0.001"}
    run({**there, "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:9", variable: value})


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_as_good_as_none(variable: str, value: str, run: Run, grpc_receiver: GrpcReceiver) -> None:
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{grpc_receiver.address}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    run({**there, variable: value})
    assert len(grpc_receiver.requests) == 2


def _in_a_process(environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-m", "otel_tcplife", "--no-table", "--replay", "recording.csv"],
        env={**kept, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_a_library_logs_is_one_line_without_a_traceback() -> None:
    """From its import on."""
    done = _in_a_process({"OTEL_PYTHON_CONTEXT": "nope\x1b"})
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    first = (
        "otel-tcplife: opentelemetry.context: Failed to load context: nope\ufffd, falling back to contextvars_context"
    )
    assert done.stderr.splitlines()[0] == first


def test_grpc_does_not_abort() -> None:
    """Which it does for a polling strategy that it does not know; in a process of its own, as this one would end."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    done = _in_a_process({**environ, "GRPC_POLL_STRATEGY": "none"})
    line = "GRPC_POLL_STRATEGY='none' is not known to gRPC; use one of all, epoll1, poll, or unset it"
    assert (done.returncode, done.stderr) == (2, f"otel-tcplife: {line}\n")
