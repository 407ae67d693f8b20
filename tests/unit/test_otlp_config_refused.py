"""OTEL_EXPORTER_OTLP_* variables that cannot be what was meant."""

from __future__ import annotations

import pytest

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.config import OtlpConfig, otlp_config
from tests.support.tls import Tls, make_tls


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_tls(tmp_path_factory.mktemp("tls"))


def _logs(**options: str) -> OtlpConfig:
    return otlp_config("logs", {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in options.items()})


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
