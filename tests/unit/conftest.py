"""What more than one file of unit tests asks for."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from otel_tcplife.cli import main
from otel_tcplife.export.otlp.transport import Transport, open_transport
from tests.support.background_process import refusing_port
from tests.support.log_lines import logged_lines
from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver
from tests.support.tls import Tls, make_tls
from tests.support.transports import USER_AGENT, Connect, configured

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "GRPC_PROXY", "NO_GRPC_PROXY")
_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The warnings of otel-tcplife, as they come."""
    with logged_lines() as lines:
        yield lines


@pytest.fixture(autouse=True)
def nothing_else_is_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that does not look at what is logged expects no warning; those of the command look at standard error."""
    with logged_lines() as lines:
        yield
    if not {"logged", "capsys", "capfd"} & {*request.fixturenames}:
        assert lines == []


@pytest.fixture
def no_configuration_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variables that lead telemetry elsewhere."""
    for name in list(os.environ):
        if name.upper() in (*_PROXIES, *_AUTHORITIES) or name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def signal_handlers_kept() -> Iterator[None]:
    """For tests that run the command in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Certificates of an authority."""
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def other_tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Certificates of another one."""
    return make_tls(tmp_path_factory.mktemp("other_tls"))


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens transports that end with the test."""
    transports: list[Transport] = []

    def open_one(endpoint: str, **options: str) -> Transport:
        transports.append(open_transport(configured("logs", endpoint, **options), user_agent=USER_AGENT))
        return transports[-1]

    yield open_one
    for transport in transports:
        transport.close()


@pytest.fixture
def refusing() -> Iterator[str]:
    """An address that refuses connections, for as long as the test takes."""
    with refusing_port() as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never reads from them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def http_receiver() -> Iterator[HttpReceiver]:
    """A receiver over HTTP."""
    with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture
def serve_grpc() -> Iterator[Callable[..., GrpcReceiver]]:
    """Starts receivers over gRPC that end with the test."""
    receivers: list[GrpcReceiver] = []

    def start(credentials: grpc.ServerCredentials | None = None, **options: int) -> GrpcReceiver:
        receivers.append(GrpcReceiver(credentials, **options))
        return receivers[-1]

    yield start
    for receiver in receivers:
        receiver.stop()


@pytest.fixture
def grpc_receiver(serve_grpc: Callable[..., GrpcReceiver]) -> GrpcReceiver:
    """A receiver over gRPC."""
    return serve_grpc()


_RECORDING = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS\n7,curl,4,10.0.0.1,4000,10.0.0.2,80,3,5,0.26\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of the test's own with a recording, which is the home and the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "recording.csv").write_text(_RECORDING)


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Replays the recording with these variables; returns the exit code and what was said."""

    def run(*, arguments: tuple[str, ...] = (), **environ: str) -> tuple[int, str]:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        code = main(["--no-table", "--replay", "recording.csv", *arguments])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run
