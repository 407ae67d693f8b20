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


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"ENDPOINT": "localhost:4318"},
            "OTEL_EXPORTER_OTLP_ENDPOINT='localhost:4318' is no http:// or https:// URL; "
            "write it such as http://localhost:4318",
        ),
        (
            {"LOGS_ENDPOINT": "ftp://c"},
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT is no http:// or https:// URL; write it such as http://localhost:4318",
        ),
        (
            {"ENDPOINT": "http://user:s3cret@c:port"},
            "OTEL_EXPORTER_OTLP_ENDPOINT has a port or an IPv6 address that is none; "
            "write it such as http://localhost:4318",
        ),
        (
            {"ENDPOINT": "https://user:s3cret@c:4317", "PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_ENDPOINT has a user name or password; "
            "leave them out: gRPC sends credentials as headers, which OTEL_EXPORTER_OTLP_HEADERS has",
        ),
        (
            {"ENDPOINT": "c:4317/v1/logs", "PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is no gRPC target; write it such as http://localhost:4317",
        ),
        (
            {"ENDPOINT": "dns://server/c:4317", "PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_ENDPOINT names a DNS server; leave it out: dns:///host:port, or host:port alone",
        ),
        (
            {"ENDPOINT": "http://user:s3/cret@c:4318"},
            "OTEL_EXPORTER_OTLP_ENDPOINT has an @ behind its host; percent-encode what is special in a user name or "
            "password, / as %2F, ? as %3F, # as %23 and @ as %40",
        ),
        (
            {"INSECURE": "yes", "PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_INSECURE='yes' is neither true nor false; use one of these",
        ),
        (
            {"PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' is not supported; use one of http/protobuf, grpc",
        ),
        (
            {"LOGS_COMPRESSION": "zstd"},
            "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION='zstd' is not supported over http/protobuf; "
            "use one of none, gzip, deflate",
        ),
        (
            {"COMPRESSION": "deflate", "PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_COMPRESSION='deflate' is not supported over grpc; use one of none, gzip",
        ),
        (
            {"TIMEOUT": "10s"},
            "OTEL_EXPORTER_OTLP_TIMEOUT='10s' is no time; give a number of seconds from 0.001 to 86400, such as 10",
        ),
        (
            {"HEADERS": "a=b,Bearer s3cret"},
            "OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not of the form name=value; "
            "separate entries with commas, and percent-encode what is special in a value",
        ),
        (
            {"LOGS_HEADERS": "a=s3cret%0A"},
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS: the value of a is not printable ASCII; remove what is not",
        ),
        (
            {"HEADERS": "trace-bin=s3cret", "PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_HEADERS: gRPC cannot send a header named trace-bin; rename it or use HTTP",
        ),
        (
            {"CERTIFICATE": "/no/such.pem"},
            "OTEL_EXPORTER_OTLP_CERTIFICATE='/no/such.pem' cannot be read: no such file or directory; "
            "name a readable PEM file of certificates",
        ),
        (
            {"CERTIFICATE": __file__},
            f"OTEL_EXPORTER_OTLP_CERTIFICATE={__file__!r} cannot be read: no certificate or crl found; "
            "name a readable PEM file of certificates",
        ),
        (
            {"CLIENT_KEY": "/no/such.pem"},
            "OTEL_EXPORTER_OTLP_CLIENT_KEY='/no/such.pem' is of no use without OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE; "
            "set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE besides",
        ),
        (
            {"CLIENT_CERTIFICATE": "/no/such.pem", "CLIENT_KEY": "/no/such.key"},
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE='/no/such.pem' cannot be read with "
            "OTEL_EXPORTER_OTLP_CLIENT_KEY='/no/such.key': no such file or directory; "
            "name readable PEM files of a certificate and its key, unencrypted",
        ),
    ],
)
def test_bad_values(options: dict[str, str], line: str) -> None:
    with pytest.raises(BadUsage) as raised:
        _logs(**options)
    assert str(raised.value) == line


@pytest.mark.parametrize(
    "endpoint",
    [
        "s3cret",
        "//c",
        "/path",
        "http://",
        "http:///v1/logs",
        "http://:4318",
        "http://::1:4318",
        "http://[::1",
        "http://c:99999",
        "http://c:0",
        "http://a b:4318",
        "http://c:4318/a\nb",
        "http://cöln:4318",
        "unix:/run/otlp.sock",
    ],
)
def test_bad_http_endpoint(endpoint: str) -> None:
    with pytest.raises(BadUsage, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT (is|has) [^;]*; [^\n;]*$") as raised:
        _logs(ENDPOINT=endpoint)
    assert endpoint not in raised.value.problem.replace("http:// or https:// URL", "")  # it may be a secret


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://",
        "http://c:port",
        "::1:4317",
        "c:99999",
        "c:4317,d:4317",
        "a b",
        "=",
        "user@c:4317",
        "tcp://c:1",
        "dns://server/c:1",
        "dns:///user@c:1",
        "dns:c:1?key=1",
        "unix://c/run/otlp.sock",
        "unix:/run/\u00f6.sock",
    ],
)
def test_bad_grpc_endpoint(endpoint: str) -> None:
    with pytest.raises(BadUsage, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT (is|has|names) [^;]*; [^\n;]*$"):
        _logs(ENDPOINT=endpoint, PROTOCOL="grpc")


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "ten", "1e300", "86401", "1e-9", "9" * 5000])
def test_bad_timeout(timeout: str) -> None:
    with pytest.raises(BadUsage, match=r"^OTEL_EXPORTER_OTLP_TIMEOUT='"):
        _logs(TIMEOUT=timeout)


@pytest.mark.parametrize("text", ["a", "=b", "a b=c", 'a="b"', "a=b;c=d", "a=ü", "a=b\nc"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_bad_headers(text: str, protocol: str) -> None:
    with pytest.raises(BadUsage, match=r"^OTEL_EXPORTER_OTLP_HEADERS: entry 1 is not of the form name=value"):
        _logs(HEADERS=text, PROTOCOL=protocol)


def test_key_of_another_certificate(tls: Tls) -> None:
    with pytest.raises(BadUsage, match=r"cannot be read with OTEL_EXPORTER_OTLP_CLIENT_KEY='.*': key values mismatch"):
        _logs(CLIENT_CERTIFICATE=str(tls.client_cert), CLIENT_KEY=str(tls.server_key))
