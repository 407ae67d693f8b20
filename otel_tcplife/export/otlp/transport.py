"""The way of encoded requests to an OTLP receiver, whatever the protocol."""

from __future__ import annotations

from typing import Protocol

from otel_tcplife.export.otlp.config import OtlpConfig, Signal
from otel_tcplife.export.otlp.reply import Reply
from otel_tcplife.export.otlp.request import Body
from otel_tcplife.version import __version__

USER_AGENT = f"otel-tcplife/{__version__}"


class Transport(Protocol):
    """A connection to one receiver, for one thread at a time."""

    def send(self, body: Body, timeout: float) -> Reply:
        """Send one encoded request, waiting `timeout` seconds at most; never raises."""
        ...

    def close(self) -> None:
        """Give the connection up."""
        ...


def open_transport(config: OtlpConfig, signal: Signal = "logs", user_agent: str = USER_AGENT) -> Transport:
    """The transport of the configured protocol for requests of this signal. It connects when something is sent.

    Each protocol's library is imported only here: that of HTTP takes 10 MB, that of gRPC 16. Raises BadUsage for an
    endpoint that the library cannot take.
    """
    if config.protocol == "grpc":
        from otel_tcplife.export.otlp.grpc import GrpcTransport

        return GrpcTransport(config, user_agent, signal)
    from otel_tcplife.export.otlp.http import HttpTransport

    return HttpTransport(config, user_agent)
