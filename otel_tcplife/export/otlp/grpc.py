"""Encoded requests to an OTLP receiver over gRPC."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

# Before the import, which reads it: gRPC writes to standard error by itself what a Reply says better.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.config import OtlpConfig, Signal
from otel_tcplife.export.otlp.credential_provider import load_credentials
from otel_tcplife.export.otlp.grpc_environment import check_grpc_environment
from otel_tcplife.export.otlp.reply import Hide, Permanent, Reply, Retryable, TooLarge, accepted, reason, refused
from otel_tcplife.export.otlp.request import Body
from otel_tcplife.printable import one_line

_METHODS: dict[Signal, str] = {
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}

# OTLP specification, "OTLP/gRPC Response"; RESOURCE_EXHAUSTED besides, where the receiver says that it can recover.
_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)

# What implementations of gRPC answer to a message that is larger than they take.
_MAYBE_TOO_LARGE = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE})

# gRPC's own two minutes would keep a receiver that is back waiting for as long.
_LONGEST_BACK_OFF_MS = 2000

_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED(?:: ([^:]+))?")
_PREAMBLE = re.compile(r".*last error: ([A-Z_]+: \w+:\S+: )?", re.DOTALL)


class GrpcTransport:
    """OTLP/gRPC, over one channel.

    The proxy is that of the environment, as gRPC has it. Raises BadUsage for what of the environment, for a credential
    provider or a status code that cannot be used, and OSError where a certificate that was there has gone.
    """

    def __init__(self, config: OtlpConfig, user_agent: str, signal: Signal = "logs") -> None:
        options = [
            ("grpc.primary_user_agent", user_agent),
            ("grpc.max_reconnect_backoff_ms", _LONGEST_BACK_OFF_MS),
        ]
        compression = channel_compression(config)
        check_grpc_environment(config)
        self._retryable = retryable_codes(config)
        if config.insecure:
            self._channel = grpc.insecure_channel(config.endpoint, options, compression)
        else:
            self._channel = grpc.secure_channel(config.endpoint, channel_credentials(config), options, compression)
        # Bytes both ways: gRPC would write a traceback about an answer that cannot be decoded.
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(_METHODS[signal])
        self._metadata = tuple(config.headers.items())
        self._receiver = config.endpoint
        self._hide = config.hide

    def send(self, body: Body, timeout: float) -> Reply:
        """Call Export with one encoded request, `timeout` seconds at most; never raises.

        While the channel waits to connect anew it returns at once.
        """
        try:
            return accepted(self._export(bytes(body), timeout=timeout, metadata=self._metadata), self._hide)
        except Exception as error:  # noqa: BLE001 send() promises never to raise
            if isinstance(error, grpc.Call):
                return self._reply(error, timeout)
            return Permanent(reason(f"cannot send to {self._receiver}", str(error), self._hide))

    def close(self) -> None:
        """Close the channel; a send() under way in another thread returns at once, as one to retry."""
        self._channel.close()

    def _reply(self, call: grpc.Call, timeout: float) -> Reply:
        code = call.code()
        why = _reason(code, call.details() or "", self._receiver, timeout, self._hide)
        if code in _MAYBE_TOO_LARGE and isinstance(too_large := refused(why), TooLarge):
            return too_large
        retry_info = _retry_info(call)
        if code in self._retryable or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and retry_info is not None):
            delay = retry_info.retry_delay if retry_info is not None else Duration()
            after = delay.seconds + delay.nanos / 1e9
            return Retryable(why, after if after > 0 else None)
        return Permanent(why)


def channel_credentials(config: OtlpConfig) -> grpc.ChannelCredentials:
    """TLS with the configured authorities, or gRPC's own, and client certificate; or what a credential provider makes.

    Raises OSError from reading the certificates, BadUsage where the provider fails.
    """
    if config.credential_provider:
        return load_credentials(config.credential_provider, grpc.ChannelCredentials)
    return grpc.ssl_channel_credentials(
        *(
            Path(path).read_bytes() if path else None
            for path in (config.certificate, config.client_key, config.client_certificate)
        )
    )


def channel_compression(config: OtlpConfig) -> grpc.Compression:
    """What gRPC calls the configured compression."""
    return grpc.Compression.Gzip if config.compression == "gzip" else grpc.Compression.NoCompression


def retryable_codes(config: OtlpConfig) -> frozenset[grpc.StatusCode]:
    """After which to send again. Raises BadUsage for a name that is none."""
    names = config.retryable_codes
    if names is None:
        return _RETRYABLE
    known = {code.name: code for code in grpc.StatusCode}
    if unknown := sorted(names - known.keys()):
        problem = f"OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES: {unknown[0]!r} is no status code of gRPC"
        raise BadUsage(problem, f"use some of {', '.join(known)}")
    return frozenset(known[name] for name in names)


def _retry_info(call: grpc.Call) -> RetryInfo | None:
    """The RetryInfo among the details of the status (OTLP specification, "OTLP/gRPC Throttling")."""
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            retry_info = RetryInfo()
            with contextlib.suppress(DecodeError):
                if any(detail.Unpack(retry_info) for detail in Status.FromString(value).details):
                    return retry_info
    return None


def _reason(code: grpc.StatusCode, details: str, receiver: str, timeout: float, hide: Hide) -> str:
    """One line of what happened, from what gRPC or the receiver said."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer from {receiver} within {timeout:g} s"
    if untrusted := _UNTRUSTED.search(details):
        why = untrusted[1] or "it cannot be verified"  # before gRPC 1.64
        return one_line(f"the certificate of {receiver} is not trusted: {hide(why)}")
    if code is grpc.StatusCode.UNAVAILABLE and "Connection refused" in details:
        return f"connection refused by {receiver}"
    return reason(f"{code.name} from {receiver}", _PREAMBLE.sub("", details), hide)
