"""Logs and metrics over OTLP take the proxies and the authorities of the environment in the same way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver, Request
from tests.support.tls import Tls

pytestmark = pytest.mark.usefixtures("no_configuration_of_the_host", "signal_handlers_kept", "home")


def _by_signal(requests: list[Request], header: str) -> dict[str, str | None]:
    return {request.path: request.headers.get(header) for request in requests}


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
