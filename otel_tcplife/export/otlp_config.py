"""Where and how to send OTLP, from the standard OTEL_EXPORTER_OTLP_* variables."""

from __future__ import annotations

import math
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from otel_tcplife.errors import BadUsage

Signal = Literal["logs", "metrics"]
Protocol = Literal["grpc", "http/protobuf"]
Compression = Literal["none", "gzip", "deflate"]

_PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")
_COMPRESSIONS: dict[Protocol, tuple[Compression, ...]] = {
    "http/protobuf": ("none", "gzip", "deflate"),
    "grpc": ("none", "gzip"),
}
_DEFAULT_SECONDS = 10.0

# What gRPC's "Name Resolution" (doc/naming.md) has besides host:port.
_GRPC_NAME = re.compile(r"(dns|unix|unix-abstract|ipv4|ipv6|vsock):\S+")
_NOT_IN_URLS = re.compile(r"[^\x21-\x7e]")
_CREDENTIALS = re.compile(r"[^/]*@")

# The keys and values of W3C Baggage, with spaces let in as the SDKs of all languages do ("Bearer x").
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*([\x20\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*)")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_GRPC_KEY = re.compile(r"[0-9a-z_.\-]+(?<!-bin)")


@dataclass(frozen=True)
class OtlpConfig:
    """How one signal reaches its receiver."""

    protocol: Protocol
    endpoint: str
    """For http/protobuf the whole URL, path included; for grpc a target as gRPC names it, such as host:port."""
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


class _Setting(NamedTuple):
    variable: str
    value: str

    def bad(self, problem: str, remedy: str) -> BadUsage:
        return BadUsage(f"{self.variable}={self.value!r} {problem}", remedy)


def otlp_config(signal: Signal, environ: Mapping[str, str] = os.environ) -> OtlpConfig:
    """The configuration of a signal by the "OpenTelemetry Protocol Exporter" specification.

    OTEL_EXPORTER_OTLP_LOGS_* or _METRICS_* come before the common form, and an empty variable is as good as none. The
    timeout is in seconds, as everywhere in OpenTelemetry Python, though the specification has milliseconds.

    Raises BadUsage, naming the variable, where one cannot be what was meant; this includes what the specification
    would have an SDK ignore with a warning.
    """

    def setting(option: str) -> _Setting:
        common = f"OTEL_EXPORTER_OTLP_{option}"
        for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{option}", common):
            if value := environ.get(variable, "").strip():
                return _Setting(variable, value)
        return _Setting(common, "")

    protocol = _protocol(setting("PROTOCOL"))
    if protocol == "grpc":
        endpoint, insecure = _grpc_target(setting("ENDPOINT"), setting("INSECURE"))
    else:
        endpoint, insecure = _http_url(setting("ENDPOINT"), signal)
    certificate = _authorities(setting("CERTIFICATE"))
    client_key, client_certificate = _client_identity(setting("CLIENT_KEY"), setting("CLIENT_CERTIFICATE"))
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
    )


def _protocol(setting: _Setting) -> Protocol:
    for protocol in _PROTOCOLS:
        if setting.value.lower() in (protocol, ""):
            return protocol
    raise setting.bad("is not supported", f"use one of {', '.join(_PROTOCOLS)}")


def _compression(setting: _Setting, protocol: Protocol) -> Compression:
    for compression in _COMPRESSIONS[protocol]:
        if setting.value.lower() in (compression, ""):
            return compression
    raise setting.bad(f"is not supported over {protocol}", f"use one of {', '.join(_COMPRESSIONS[protocol])}")


def _timeout(setting: _Setting) -> float:
    if not setting.value:
        return _DEFAULT_SECONDS
    try:
        seconds = float(setting.value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise setting.bad("is no time", "give a positive number of seconds, such as 10")
    return seconds


def _http_url(setting: _Setting, signal: Signal) -> tuple[str, bool]:
    """The URL and whether it is plain, by the specification's "Endpoint URLs for OTLP/HTTP"."""
    url = _split(setting, setting.value or "http://localhost:4318")
    if setting.variable == "OTEL_EXPORTER_OTLP_ENDPOINT":
        path = f"{url.path.removesuffix('/')}/v1/{signal}"
    else:
        path = url.path or "/"
    return urlunsplit((url.scheme, url.netloc, path, url.query, "")), url.scheme == "http"


def _grpc_target(setting: _Setting, insecure: _Setting) -> tuple[str, bool]:
    """The target and whether it is plain: an http or https scheme says so, INSECURE does for all other forms."""
    flag = insecure.value.lower()
    if flag not in ("", "true", "false"):
        raise insecure.bad("is neither true nor false", "use one of these")
    endpoint = setting.value or "http://localhost:4317"
    if _GRPC_NAME.fullmatch(endpoint):
        return endpoint, flag == "true"
    has_scheme = "://" in endpoint
    url = _split(setting, endpoint if has_scheme else f"http://{endpoint}")
    if "@" in url.netloc or (not has_scheme and url.netloc != endpoint):
        raise _bad_endpoint(setting, "is no gRPC target", "write it such as http://localhost:4317")
    return url.netloc, url.scheme == "http" if has_scheme else flag == "true"


def _split(setting: _Setting, endpoint: str) -> SplitResult:
    try:
        url = urlsplit(endpoint)
        # Reading the port is what checks it.
        if url.scheme in ("http", "https") and url.hostname and url.port != 0 and not _NOT_IN_URLS.search(endpoint):
            return url
    except ValueError:
        pass
    example = "http://localhost:4318" if "://" in endpoint else f"http://{endpoint}"
    raise _bad_endpoint(setting, "is no http:// or https:// URL", f"write it such as {example}")


def _bad_endpoint(setting: _Setting, problem: str, remedy: str) -> BadUsage:
    """As setting.bad(), without the user name and password that a URL may have."""
    return _Setting(setting.variable, _CREDENTIALS.sub("...@", setting.value)).bad(problem, remedy)


def _headers(setting: _Setting, protocol: Protocol) -> dict[str, str]:
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


def _authorities(setting: _Setting) -> str | None:
    if not setting.value:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(setting.value)
    except OSError as error:
        raise setting.bad(f"cannot be read: {_why(error)}", "name a readable PEM file of certificates") from error
    return setting.value


def _client_identity(key: _Setting, certificate: _Setting) -> tuple[str | None, str | None]:
    if not certificate.value:
        if key.value:
            raise key.bad(f"is of no use without {certificate.variable}", f"set {certificate.variable} besides")
        return None, None
    key = key if key.value else certificate
    try:
        # The password keeps OpenSSL from asking for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate.value, key.value, password="")
    except OSError as error:
        also = "" if key is certificate else f" with {key.variable}={key.value!r}"
        remedy = "name readable PEM files of a certificate and its key, unencrypted"
        raise certificate.bad(f"cannot be read{also}: {_why(error)}", remedy) from error
    return key.value, certificate.value


def _why(error: OSError) -> str:
    """The reason of OpenSSL or of the system, in lower case without numbers."""
    reason = getattr(error, "reason", None) or error.strerror or "no PEM file"
    return str(reason).replace("_", " ").lower()
