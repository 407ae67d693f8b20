"""Logs and metrics over OTLP take the same settings in the same way: each case is run as the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from otel_tcplife.cli import main
from tests.support.otlp_receiver import Answer, GrpcReceiver, HttpReceiver, Request, grpc_credentials
from tests.support.tls import Tls
from tests.unit.made_up_packages import make_package

RECORDING = "PID,COMM,IP,LADDR,LPORT,RADDR,RPORT,TX_KB,RX_KB,MS\n7,curl,4,10.0.0.1,4000,10.0.0.2,80,3,5,0.26\n"
GROUP = "opentelemetry_otlp_credential_provider"
PROVIDERS = """
import grpc, requests

def session():
    made = requests.Session()
    made.headers["x-made-up"] = "yes"
    return made

def signing():
    class Signing(requests.auth.AuthBase):
        def __call__(self, request):
            request.headers["x-signed"] = str(len(request.body))
            return request
    made = requests.Session()
    made.auth = Signing()
    return made

def channel():
    return grpc.ssl_channel_credentials(open(AUTHORITIES, "rb").read())

def nothing():
    return None

def failing():
    raise RuntimeError("no token\\nfrom http://user:s3cret@c/?key=s3cret")
"""

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept", "exporter_logger_kept")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "recording.csv").write_text(RECORDING)


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


def _by_signal(requests: list[Request], header: str) -> dict[str, str | None]:
    return {request.path: request.headers.get(header) for request in requests}


def _of_both(value: str | None) -> dict[str, str | None]:
    return {"/v1/logs": value, "/v1/metrics": value}


def test_netrc_replaces_no_header(http_receiver: HttpReceiver, replay: Callable[..., tuple[int, str]]) -> None:
    netrc = Path.home() / ".netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    there = f"http://{http_receiver.address}"
    code, _ = replay(OTEL_EXPORTER_OTLP_ENDPOINT=there, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20token")
    assert (code, _by_signal(http_receiver.requests, "authorization")) == (0, _of_both("Bearer token"))


def test_netrc_is_sent_to_nobody(http_receiver: HttpReceiver, replay: Callable[..., tuple[int, str]]) -> None:
    (Path.home() / "netrc").write_text("default login somebody password else\n")
    code, _ = replay(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{http_receiver.address}", NETRC=str(Path.home() / "netrc"))
    assert (code, _by_signal(http_receiver.requests, "authorization")) == (0, _of_both(None))


def test_user_name_and_password_of_the_endpoint(
    http_receiver: HttpReceiver, replay: Callable[..., tuple[int, str]]
) -> None:
    code, said = replay(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://user:s3c%2Fret@{http_receiver.address}?key=s3cret")
    sent = {request.path: request.headers.get("authorization") for request in http_receiver.requests}
    basic = "Basic dXNlcjpzM2MvcmV0"
    assert (code, sent) == (0, {"/v1/logs?key=s3cret": basic, "/v1/metrics?key=s3cret": basic})
    assert f"logs to http://{http_receiver.address}/v1/logs" in said
    assert "s3c" not in said
    assert "user" not in said


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, {"content-type": "text/plain"}, b"no key s3cretkey, no user ingest with s3cretword\x1b[2J"),
        Answer(400, {"content-type": "text/plain"}, b"aW5nZXN0OnMzY3JldHdvcmQ= and Bearer s3crettoken"),
        Answer(307, {"location": "/elsewhere?key=s3cretkey"}),
        Answer(302, {"location": "http://ingest:s3cretword@127.0.0.1:1/?key=s3cretkey"}),
        Answer(302, {"location": "http://[s3cretkey"}),
    ],
)
def test_what_a_receiver_repeats_is_said_without_secrets(
    answer: Answer, http_receiver: HttpReceiver, replay: Callable[..., tuple[int, str]]
) -> None:
    http_receiver.answer = answer
    there = f"http://ingest:s3cretword@{http_receiver.address}/in?key=s3cretkey"
    code, said = replay(OTEL_EXPORTER_OTLP_ENDPOINT=there, OTEL_EXPORTER_OTLP_HEADERS="x-key=Bearer%20s3crettoken")
    assert code == 0
    assert "rejected" in said
    assert "s3cret" not in said
    assert "aW5nZX" not in said
    assert "\x1b" not in said


def test_an_unreachable_receiver_is_said_without_secrets(
    refusing: str, http_receiver: HttpReceiver, replay: Callable[..., tuple[int, str]]
) -> None:
    """By the exporter of metrics, which has the URL in its message; logs would be tried again for ever."""
    code, said = replay(
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"http://{http_receiver.address}",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"http://user:s3cretword@{refusing}/in?key=s3cretkey",
        OTEL_EXPORTER_OTLP_METRICS_TIMEOUT="0.5",
    )
    assert code == 0
    assert f"cannot export metrics to http://{refusing}/in: " in said
    assert "s3cret" not in said


def _install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    source = "".join(f"{name} = {value!r}\n" for name, value in values.items()) + PROVIDERS
    entries = ("session", "signing", "channel", "nothing", "failing")
    make_package(tmp_path, f"provider_of_{tmp_path.name}", source, GROUP, {entry: entry for entry in entries})
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    "variable", ["_CREDENTIAL_PROVIDER", "_LOGS_CREDENTIAL_PROVIDER", "_METRICS_CREDENTIAL_PROVIDER"]
)
def test_a_credential_provider_serves_the_signals_that_it_is_set_for(
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    http_receiver: HttpReceiver,
    replay: Callable[..., tuple[int, str]],
) -> None:
    _install(tmp_path, monkeypatch)
    provider = {f"OTEL_PYTHON_EXPORTER_OTLP_HTTP{variable}": "session"}
    code, _ = replay(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{http_receiver.address}", **provider)
    expected = {
        f"/v1/{of}": "yes" if variable[1:].startswith(("CRED", of.upper())) else None for of in ("logs", "metrics")
    }
    assert (code, _by_signal(http_receiver.requests, "x-made-up")) == (0, expected)


def test_a_credential_provider_that_signs_what_is_sent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    http_receiver: HttpReceiver,
    replay: Callable[..., tuple[int, str]],
) -> None:
    _install(tmp_path, monkeypatch)
    variable = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER"
    code, _ = replay(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{http_receiver.address}", **{variable: "signing"})
    assert (code, len(http_receiver.requests)) == (0, 2)
    for request in http_receiver.requests:
        assert request.headers["x-signed"] == str(len(request.body))


def test_a_credential_provider_of_grpc(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tls: Tls,
    serve_grpc: Callable[..., GrpcReceiver],
    replay: Callable[..., tuple[int, str]],
) -> None:
    _install(tmp_path, monkeypatch, AUTHORITIES=str(tls.ca))
    receiver = serve_grpc(grpc_credentials(tls))
    code, _ = replay(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"https://{receiver.address}",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER="channel",
    )
    assert (code, len(receiver.requests)) == (0, 2)


@pytest.mark.parametrize("signal", ["LOGS", "METRICS"])
@pytest.mark.parametrize(
    ("protocol", "kind", "provider", "problem"),
    [
        ("http/protobuf", "HTTP", "missing", "is no installed credential provider; use one of channel, failing,"),
        ("http/protobuf", "HTTP", "nothing", "makes a NoneType where a Session is needed; "),
        ("http/protobuf", "HTTP", "failing", "cannot be used: RuntimeError: no token from http://c/; "),
        ("grpc", "GRPC", "session", "makes a Session where a ChannelCredentials is needed; "),
        ("grpc", "GRPC", "missing", "is no installed credential provider; use one of "),
        ("grpc", "GRPC", "failing", "cannot be used: RuntimeError: no token from http://c/; "),
    ],
)
def test_a_credential_provider_that_cannot_be_used(
    signal: str,
    protocol: str,
    kind: str,
    provider: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replay: Callable[..., tuple[int, str]],
) -> None:
    _install(tmp_path, monkeypatch)
    variable = f"OTEL_PYTHON_EXPORTER_OTLP_{kind}_{signal}_CREDENTIAL_PROVIDER"
    environ = {f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": "https://127.0.0.1:9", variable: provider}
    code, said = replay(OTEL_EXPORTER_OTLP_PROTOCOL=protocol, **environ)
    assert code == 2
    assert said.startswith(f"otel-tcplife: {variable}={provider!r} {problem}")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("signal", ["LOGS", "METRICS"])
@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("socks5h://user:s3cret@127.0.0.1:1", "names a socks5h proxy, and PySocks is not installed; install PySocks, "),
        ("ftp://user:s3cret@127.0.0.1:1", "is no URL of a proxy; write it such as http://proxy:3128, "),
        ("http://user:s3/cret@127.0.0.1:1", "is no URL of a proxy; "),
        ("http://user:1/s3cret@127.0.0.1:1", "is no URL of a proxy; "),
        ("http://user:s3cret@127.0.0.1:99999", "is no URL of a proxy; "),
        ("http://", "is no URL of a proxy; "),
    ],
)
def test_a_proxy_that_cannot_be_used(
    signal: str, variable: str, proxy: str, problem: str, replay: Callable[..., tuple[int, str]]
) -> None:
    environ = {f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": "http://192.0.2.1:4318", variable: proxy}
    code, said = replay(**environ)
    assert code == 2
    assert said.startswith(f"otel-tcplife: {variable} {problem}")
    assert len(said.splitlines()) == 1
    assert "s3" not in said


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_a_proxy_that_is_not_used_is_no_trouble(
    variable: str, http_receiver: HttpReceiver, replay: Callable[..., tuple[int, str]]
) -> None:
    environ = {"ALL_PROXY": "socks5h://127.0.0.1:1", variable: "127.0.0.1"}
    code, _ = replay(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{http_receiver.address}", **environ)
    assert (code, len(http_receiver.requests)) == (0, 2)


def test_both_signals_go_through_the_proxy(http_receiver: HttpReceiver, replay: Callable[..., tuple[int, str]]) -> None:
    code, said = replay(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector.invalid:4318",
        HTTP_PROXY=f"http://user:s3cret@{http_receiver.address}",
    )
    there = "http://collector.invalid:4318/v1/"
    sent = _by_signal(http_receiver.requests, "proxy-authorization")
    assert (code, sent) == (0, dict.fromkeys([f"{there}logs", f"{there}metrics"], "Basic dXNlcjpzM2NyZXQ="))
    assert "s3cret" not in said


@pytest.mark.parametrize("signal", ["LOGS", "METRICS"])
@pytest.mark.parametrize(
    "proxy", ["socks5h://user:s3cret@127.0.0.1:1", "https://127.0.0.1:1", "text", "http://u:1/s3@p:1"]
)
def test_a_proxy_that_grpc_would_leave_out(signal: str, proxy: str, replay: Callable[..., tuple[int, str]]) -> None:
    there = {f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": "http://192.0.2.1:4317"}
    code, said = replay(OTEL_EXPORTER_OTLP_PROTOCOL="grpc", https_proxy=proxy, http_proxy="http://192.0.2.1:1", **there)
    line = "https_proxy is no proxy that gRPC can use; set grpc_proxy to one such as http://proxy:3128, or to nothing "
    assert (code, said) == (2, f"otel-tcplife: {line}for none\n")


@pytest.mark.parametrize(
    "environ",
    [{"grpc_proxy": ""}, {"no_proxy": "10.0.0.1, 127.0.0.1"}, {"no_grpc_proxy": "127.0.0.0/8"}, {"no_proxy": "*"}],
)
def test_a_proxy_that_grpc_does_not_use_is_no_trouble(
    environ: dict[str, str], grpc_receiver: GrpcReceiver, replay: Callable[..., tuple[int, str]]
) -> None:
    there = f"http://{grpc_receiver.address}"
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "https_proxy": "socks5h://127.0.0.1:1", **environ}
    code, _ = replay(OTEL_EXPORTER_OTLP_ENDPOINT=there, **environ)
    assert (code, len(grpc_receiver.requests)) == (0, 2)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_of_the_environment(
    variable: str, http_receiver: HttpReceiver, tls: Tls, other_tls: Tls, replay: Callable[..., tuple[int, str]]
) -> None:
    """They are heeded by both signals where the configuration names none, and by none where it does."""
    http_receiver.speak_tls(tls)
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://{http_receiver.address}"}
    assert replay(**there, **{variable: str(tls.ca)})[0] == 0
    assert len(http_receiver.requests) == 2
    assert replay(**there, **{variable: str(other_tls.ca)}, OTEL_EXPORTER_OTLP_CERTIFICATE=str(tls.ca))[0] == 0
    assert len(http_receiver.requests) == 4


@pytest.mark.parametrize("signal", ["LOGS", "METRICS"])
@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("REQUESTS_CA_BUNDLE", "cannot be read: no such file or directory; name a readable PEM file of certificates"),
        ("CURL_CA_BUNDLE", "cannot be read: no such file or directory; name a readable PEM file of certificates"),
        ("SSLKEYLOGFILE", "cannot be written to: No such file or directory; name a file, or unset it"),
    ],
)
def test_files_of_the_environment_that_are_missing(
    signal: str, variable: str, problem: str, replay: Callable[..., tuple[int, str]]
) -> None:
    there = {f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": "https://127.0.0.1:9", variable: "/no/such/file"}
    assert replay(**there) == (2, f"otel-tcplife: {variable}='/no/such/file' {problem}\n")


def test_status_codes_to_send_again_after(grpc_receiver: GrpcReceiver, replay: Callable[..., tuple[int, str]]) -> None:
    variable = "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES"
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{grpc_receiver.address}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    code, said = replay(**there, **{variable: "unavailable,nope"})
    assert code == 2
    assert said.startswith(f"otel-tcplife: {variable}: 'NOPE' is no status code of gRPC; use some of OK, ")
    code, _ = replay(**there, **{variable: "unavailable, ABORTED"})
    assert (code, len(grpc_receiver.requests)) == (0, 2)
