"""Logs and metrics over OTLP take the same settings in the same way: each case is run as the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.otlp_receiver import Answer, GrpcReceiver, HttpReceiver, Request, grpc_credentials
from tests.support.tls import Tls
from tests.unit.made_up_packages import make_package

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

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept", "home")


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
