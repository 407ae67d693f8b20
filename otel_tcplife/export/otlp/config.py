"""Where and how to send OTLP, from the standard OTEL_EXPORTER_OTLP_* variables."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.endpoint import hidden, is_host, misplaced_at, secrets_of, shown
from otel_tcplife.export.otlp.setting import Setting
from otel_tcplife.export.otlp.tls_files import certificate_file, client_files

Signal = Literal["logs", "metrics"]
Protocol = Literal["grpc", "http/protobuf"]
Compression = Literal["none", "gzip", "deflate"]

_PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")
_COMPRESSIONS: dict[Protocol, tuple[Compression, ...]] = {
    "http/protobuf": ("none", "gzip", "deflate"),
    "grpc": ("none", "gzip"),
}
_DEFAULT_SECONDS = 10.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.001, 86400.0
"""What is shorter ends before any answer; what is longer than a day is no time that anybody meant."""

# What gRPC's "Name Resolution" (doc/naming.md) has besides host:port. A DNS server (dns://server/host) the SDK's
# exporter of metrics would take for the receiver, and no other scheme has an authority.
_GRPC_NAME = re.compile(r"(dns|unix|unix-abstract|ipv4|ipv6|vsock):(?!//[^/])[\x21-\x7e]+")
_GRPC_PATH = re.compile(r"unix(-abstract)?:.*")
_NOT_IN_URLS = re.compile(r"[^\x21-\x7e]")
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9.\-]+:[0-9]{1,5}")

# The keys and values of W3C Baggage, with spaces let in as the SDKs of all languages do ("Bearer x").
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*([\x20\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*)")
_PROVIDERS: dict[Protocol, str] = {
    "http/protobuf": "OTEL_PYTHON_EXPORTER_OTLP_HTTP",
    "grpc": "OTEL_PYTHON_EXPORTER_OTLP_GRPC",
}
_RETRYABLE_CODES = "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES"

_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_GRPC_KEY = re.compile(r"[0-9a-z_.\-]+(?<!-bin)")


@dataclass(frozen=True)
class OtlpConfig:
    """How one signal reaches its receiver."""

    protocol: Protocol
    endpoint: str = field(repr=False)
    """For http/protobuf the whole URL, path included; for grpc a target as gRPC names it, such as host:port. A URL can
    have secrets: messages have `shown`."""
    insecure: bool
    """Without TLS."""
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name; the values may be secrets."""
    certificate: str | None
    """Path of the PEM file of the authorities to trust; None for those of the system."""
    client_key: str | None
    """Path of the PEM file; the client certificate's own where that holds both; None without mutual TLS."""
    client_certificate: str | None
    compression: Compression
    timeout: float
    """Seconds, for one sending."""
    credential_provider: Setting | None = None
    """The entry point that makes the requests.Session or the grpc.ChannelCredentials to send with."""
    retryable_codes: frozenset[str] | None = None
    """Names of the gRPC status codes after which to send again; None for those of the specification."""

    @property
    def shown(self) -> str:
        """The endpoint for the eyes of the user."""
        return self.endpoint if self.protocol == "grpc" else shown(self.endpoint)

    @cached_property
    def secrets(self) -> frozenset[str]:
        """What must not be repeated."""
        return secrets_of("" if self.protocol == "grpc" else self.endpoint, self.headers)

    def hide(self, text: str) -> str:
        """What others say of the sending, without the secrets that they may repeat."""
        return hidden(text, self.secrets)


def otlp_config(signal: Signal, environ: Mapping[str, str] = os.environ) -> OtlpConfig:
    """The configuration of a signal by the "OpenTelemetry Protocol Exporter" specification.

    OTEL_EXPORTER_OTLP_LOGS_* or _METRICS_* come before the common form, and an empty variable is as good as none. The
    timeout is in seconds, as everywhere in OpenTelemetry Python, though the specification has milliseconds.

    Raises BadUsage, naming the variable, where one cannot be what was meant; this includes what the specification
    would have an SDK ignore with a warning.
    """

    def setting(option: str, prefix: str = "OTEL_EXPORTER_OTLP") -> Setting:
        common = f"{prefix}_{option}"
        for variable in (f"{prefix}_{signal.upper()}_{option}", common):
            if value := environ.get(variable, "").strip():
                return Setting(variable, value)
        return Setting(common, "")

    protocol = _protocol(setting("PROTOCOL"))
    if protocol == "grpc":
        endpoint, insecure = _grpc_target(setting("ENDPOINT"), setting("INSECURE"))
    else:
        endpoint, insecure = _http_url(setting("ENDPOINT"), signal)
    certificate = certificate_file(setting("CERTIFICATE"))
    client_key, client_certificate = client_files(setting("CLIENT_KEY"), setting("CLIENT_CERTIFICATE"))
    return OtlpConfig(
        protocol=protocol,
        endpoint=endpoint,
        insecure=insecure,
        headers=_headers(setting("HEADERS"), protocol),
        certificate=certificate,
        client_key=client_key,
        client_certificate=client_certificate,
        compression=_compression(setting("COMPRESSION"), protocol),
        timeout=_timeout(setting("TIMEOUT")),
        credential_provider=_provider(setting("CREDENTIAL_PROVIDER", _PROVIDERS[protocol]), protocol, insecure),
        retryable_codes=_retryable_codes(environ.get(_RETRYABLE_CODES, "")) if protocol == "grpc" else None,
    )


def _protocol(setting: Setting) -> Protocol:
    for protocol in _PROTOCOLS:
        if setting.value.lower() in (protocol, ""):
            return protocol
    raise setting.bad("is not supported", f"use one of {', '.join(_PROTOCOLS)}")


def _compression(setting: Setting, protocol: Protocol) -> Compression:
    for compression in _COMPRESSIONS[protocol]:
        if setting.value.lower() in (compression, ""):
            return compression
    raise setting.bad(f"is not supported over {protocol}", f"use one of {', '.join(_COMPRESSIONS[protocol])}")


def _timeout(setting: Setting) -> float:
    if not setting.value:
        return _DEFAULT_SECONDS
    try:
        seconds = float(setting.value)
    except ValueError:
        seconds = math.nan
    if not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise setting.bad("is no time", f"give a number of seconds from {_SHORTEST_SECONDS} to 86400, such as 10")
    return seconds


def _provider(setting: Setting, protocol: Protocol, insecure: bool) -> Setting | None:
    if not setting.value:
        return None
    if protocol == "grpc" and insecure:
        raise setting.bad("is of no use without TLS", "give an https:// endpoint, or unset it")
    return setting


def _retryable_codes(text: str) -> frozenset[str] | None:
    """Checked by whoever knows the codes."""
    return frozenset(code.strip().upper() for code in text.split(",") if code.strip()) or None


def _http_url(setting: Setting, signal: Signal) -> tuple[str, bool]:
    """The URL and whether it is plain, by the specification's "Endpoint URLs for OTLP/HTTP"."""
    url = _split(setting, setting.value or "http://localhost:4318")
    if setting.variable == "OTEL_EXPORTER_OTLP_ENDPOINT":
        path = f"{url.path.removesuffix('/')}/v1/{signal}"
    else:
        path = url.path or "/"
    return urlunsplit((url.scheme, url.netloc, path, url.query, "")), url.scheme == "http"


def _grpc_target(setting: Setting, insecure: Setting) -> tuple[str, bool]:
    """The target and whether it is plain: an http or https scheme says so, INSECURE does for all other forms."""
    flag = insecure.value.lower()
    if flag not in ("", "true", "false"):
        raise insecure.bad("is neither true nor false", "use one of these")
    endpoint = setting.value or "http://localhost:4317"
    if _GRPC_NAME.fullmatch(endpoint) and (_GRPC_PATH.fullmatch(endpoint) or not re.search("[@?#]", endpoint)):
        return endpoint, flag == "true"
    if endpoint.lower().startswith("dns://"):
        raise BadUsage(f"{setting.variable} names a DNS server", "leave it out: dns:///host:port, or host:port alone")
    has_scheme = "://" in endpoint
    url = _split(setting, endpoint if has_scheme else f"http://{endpoint}", "is no gRPC target")
    if "@" in url.netloc:
        remedy = "leave them out: gRPC sends credentials as headers, which OTEL_EXPORTER_OTLP_HEADERS has"
        raise BadUsage(f"{setting.variable} has a user name or password", remedy)
    if not has_scheme and url.netloc != endpoint:
        raise BadUsage(f"{setting.variable} is no gRPC target", "write it such as http://localhost:4317")
    return url.netloc, url.scheme == "http" if has_scheme else flag == "true"


def _split(setting: Setting, endpoint: str, problem: str = "is no http:// or https:// URL") -> SplitResult:
    """The parts of a URL with a host. What is none is not repeated, as it may be or have a secret."""
    example = f"write it such as http://localhost:{4317 if 'gRPC' in problem else 4318}"
    if misplaced_at(endpoint):
        remedy = "percent-encode what is special in a user name or password, / as %2F, ? as %3F, # as %23 and @ as %40"
        raise BadUsage(f"{setting.variable} has an @ behind its host", remedy)
    if _NOT_IN_URLS.search(endpoint):
        raise BadUsage(f"{setting.variable} has a space in it, or what is not ASCII", example)
    try:
        url = urlsplit(endpoint)
        port = url.port  # reading it is what checks it
    except ValueError:
        raise BadUsage(f"{setting.variable} has a port or an IPv6 address that is none", example) from None
    if url.scheme in ("http", "https") and is_host(url.hostname) and port != 0:
        return url
    if _HOST_AND_PORT.fullmatch(endpoint):
        raise setting.bad(problem, f"write it such as http://{endpoint}")
    raise BadUsage(f"{setting.variable} {problem}", example)


def _headers(setting: Setting, protocol: Protocol) -> dict[str, str]:
    headers: dict[str, str] = {}
    for number, pair in enumerate(setting.value.split(","), start=1):
        if not pair.strip():
            continue
        match = _HEADER.fullmatch(pair.strip())
        if not match:
            raise BadUsage(
                f"{setting.variable}: entry {number} is not of the form name=value",
                "separate entries with commas, and percent-encode what is special in a value",
            )
        name, value = match[1].lower(), unquote(match[2]).strip(" ")
        if not _PRINTABLE.fullmatch(value):
            raise BadUsage(f"{setting.variable}: the value of {name} is not printable ASCII", "remove what is not")
        if protocol == "grpc" and not _GRPC_KEY.fullmatch(name):
            raise BadUsage(f"{setting.variable}: gRPC cannot send a header named {name}", "rename it or use HTTP")
        headers[name] = value
    return headers
