"""Transports of this package, as tests of them open them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from otel_tcplife.export.otlp.config import OtlpConfig, Signal, otlp_config
from otel_tcplife.export.otlp.reply import Reply, Success
from otel_tcplife.export.otlp.transport import Transport

USER_AGENT = "otel-tcplife/1.2.3"

IMPATIENCE = 0.3
"""Seconds for what never answers."""

Connect = Callable[..., Transport]
"""From an endpoint, and OTEL_EXPORTER_OTLP_* by the ends of their names, to a transport that ends with the test."""


def configured(signal: Signal, endpoint: str, **options: str) -> OtlpConfig:
    """The configuration of these OTEL_EXPORTER_OTLP_* variables, without the start of their names."""
    environ = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in options.items()}
    return otlp_config(signal, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **environ})


def reply_from(address: str, reply: Reply) -> Reply:
    """The expected reply with the address of the receiver for PEER."""
    if isinstance(reply, Success):
        return reply
    return dataclasses.replace(reply, reason=reply.reason.replace("PEER", address))
