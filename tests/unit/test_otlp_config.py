"""The OTEL_EXPORTER_OTLP_* variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.config import OtlpConfig, Signal, otlp_config
from tests.support.tls import Tls, make_tls


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_tls(tmp_path_factory.mktemp("tls"))


def _logs(**options: str) -> OtlpConfig:
    return otlp_config("logs", {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in options.items()})


def test_nothing_set() -> None:
    assert otlp_config("logs", {}) == OtlpConfig(
        protocol="http/protobuf",
        endpoint="http://localhost:4318/v1/logs",
        insecure=True,
        headers={},
        certificate=None,
        client_key=None,
        client_certificate=None,
        compression="none",
        timeout=10.0,
    )


@pytest.mark.parametrize(
    ("common", "own", "url"),
    [
        ("", "", "http://localhost:4318/v1/logs"),
        ("http://c:4318", "", "http://c:4318/v1/logs"),
        ("http://c:4318/", "", "http://c:4318/v1/logs"),
        ("http://c:4318/mine/", "", "http://c:4318/mine/v1/logs"),
        ("http://c:4318/mine", "", "http://c:4318/mine/v1/logs"),
        ("http://c:4318/mine//", "", "http://c:4318/mine//v1/logs"),
        ("http://c:4318?key=1", "", "http://c:4318/v1/logs?key=1"),
        ("https://c", "", "https://c/v1/logs"),
        ("HTTP://c", "", "http://c/v1/logs"),
        ("http://[::1]:4318", "", "http://[::1]:4318/v1/logs"),
        ("http://user:word@c:4318", "", "http://user:word@c:4318/v1/logs"),
        (" http://c:4318 ", " ", "http://c:4318/v1/logs"),
        ("http://c:4318", "http://own:4318", "http://own:4318/"),
        ("", "http://own:4318/v1/logs", "http://own:4318/v1/logs"),
        ("", "https://own/v1/logs/", "https://own/v1/logs/"),
        ("no URL", "http://own/a?b=c", "http://own/a?b=c"),
    ],
)
def test_http_endpoint(common: str, own: str, url: str) -> None:
    config = _logs(ENDPOINT=common, LOGS_ENDPOINT=own, INSECURE="true")
    assert config.endpoint == url
    assert config.insecure is not url.startswith("https")


@pytest.mark.parametrize(
    ("endpoint", "flag", "target", "insecure"),
    [
        ("", "", "localhost:4317", True),
        ("http://c:4317", "", "c:4317", True),
        ("http://c:4317", "false", "c:4317", True),
        ("http://c:4317/v1/logs", "", "c:4317", True),
        ("https://c:4317", "", "c:4317", False),
        ("https://c:4317", "true", "c:4317", False),
        ("https://c", "", "c", False),
        ("http://[::1]:4317", "", "[::1]:4317", True),
        ("c:4317", "", "c:4317", False),
        ("c:4317", "TRUE", "c:4317", True),
        ("c:4317", "False", "c:4317", False),
        ("c", "true", "c", True),
        ("10.0.0.1:4317", "true", "10.0.0.1:4317", True),
        ("[::1]:4317", "true", "[::1]:4317", True),
        ("dns:///c:4317", "true", "dns:///c:4317", True),
        ("unix:/run/otlp.sock", "true", "unix:/run/otlp.sock", True),
        ("unix:///run/otlp.sock", "", "unix:///run/otlp.sock", False),
    ],
)
def test_grpc_endpoint(endpoint: str, flag: str, target: str, insecure: bool) -> None:
    config = _logs(PROTOCOL="grpc", ENDPOINT=endpoint, INSECURE=flag)
    assert (config.endpoint, config.insecure) == (target, insecure)


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_the_form_of_the_signal_comes_first(signal: Signal) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "no such",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "no such",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "no such",
        "OTEL_EXPORTER_OTLP_HEADERS": "no such",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "no such",
        "OTEL_EXPORTER_OTLP_INSECURE": "no such",
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL": "grpc",
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_COMPRESSION": "gzip",
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_TIMEOUT": "2.5",
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS": "a=b",
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT": "c:4317",
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_INSECURE": "true",
    }
    config = otlp_config(signal, environ)
    assert (config.protocol, config.compression, config.timeout) == ("grpc", "gzip", 2.5)
    assert (config.headers, config.endpoint, config.insecure) == ({"a": "b"}, "c:4317", True)


def test_signals_apart() -> None:
    environ = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/x", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}
    assert otlp_config("logs", environ).endpoint == "http://c:1/v1/logs"
    assert otlp_config("metrics", environ).endpoint == "http://m:1/x"


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("", {}),
        ("a=b", {"a": "b"}),
        (" A = b , c=d,", {"a": "b", "c": "d"}),
        ("authorization=Basic%20eDp5%3D%3D", {"authorization": "Basic eDp5=="}),
        ("authorization=Bearer x.y-z", {"authorization": "Bearer x.y-z"}),
        ("key=a=b==", {"key": "a=b=="}),
        ("key=a%2Cb", {"key": "a,b"}),
        ("empty=", {"empty": ""}),
        ("a=1,a=2", {"a": "2"}),
    ],
)
def test_headers(text: str, headers: dict[str, str]) -> None:
    assert _logs(HEADERS=text).headers == headers
    assert _logs(HEADERS=text, PROTOCOL="grpc").headers == headers


def test_what_is_secret_is_not_shown() -> None:
    config = _logs(HEADERS="authorization=s3cret", ENDPOINT="http://s3cret:s3cret@c:4318/in?key=s3cret")
    assert "s3cret" not in repr(config)
    assert config.shown == "http://c:4318/in/v1/logs"
    assert config.hide("no s3cret for http://a:b@d/e?f=g") == "no ... for http://d/e"


def test_a_user_name_and_password_are_sent() -> None:
    assert _logs(ENDPOINT="http://user:s3cret@c:4318").endpoint == "http://user:s3cret@c:4318/v1/logs"


@pytest.mark.parametrize("signal", ["logs", "metrics"])
@pytest.mark.parametrize(("protocol", "kind"), [("http/protobuf", "HTTP"), ("grpc", "GRPC")])
def test_the_credential_provider_of_the_signal_comes_first(signal: Signal, protocol: str, kind: str) -> None:
    common, own = (f"OTEL_PYTHON_EXPORTER_OTLP_{kind}{of}_CREDENTIAL_PROVIDER" for of in ("", f"_{signal.upper()}"))
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": "https://c"}
    assert otlp_config(signal, environ).credential_provider is None
    assert otlp_config(signal, {**environ, common: "a", own: " "}).credential_provider == (common, "a")
    assert otlp_config(signal, {**environ, common: "a", own: "b"}).credential_provider == (own, "b")


def test_a_credential_provider_of_grpc_needs_tls() -> None:
    variable = "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER"
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", variable: "a"}
    with pytest.raises(BadUsage, match=f"^{variable}='a' is of no use without TLS; "):
        otlp_config("logs", environ)


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate", "GZIP"])
def test_compression(compression: str) -> None:
    assert _logs(COMPRESSION=compression).compression == compression.lower()


def test_tls_files(tls: Tls) -> None:
    config = _logs(
        CERTIFICATE=str(tls.ca), CLIENT_KEY=str(tls.client_key), LOGS_CLIENT_CERTIFICATE=str(tls.client_cert)
    )
    assert config.certificate == str(tls.ca)
    assert (config.client_key, config.client_certificate) == (str(tls.client_key), str(tls.client_cert))


def test_key_in_the_file_of_the_certificate(tls: Tls, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(tls.client_cert.read_bytes() + tls.client_key.read_bytes())
    config = _logs(CLIENT_CERTIFICATE=str(both))
    assert (config.client_key, config.client_certificate) == (str(both), str(both))
