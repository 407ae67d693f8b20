"""What the telemetry is about: this host, by the standard resource variables and detectors."""

from __future__ import annotations

import socket

from opentelemetry.sdk.resources import Resource

from otel_tcplife.version import __version__


def host_resource() -> Resource:
    """OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and resource detectors before what the agent knows of itself."""
    known = {
        "service.name": "otel-tcplife",
        "service.version": __version__,
        "host.name": socket.gethostname(),
        "os.type": "linux",
    }
    configured = dict(Resource.create().attributes)
    if str(configured.get("service.name", "")).startswith("unknown_service"):  # the SDK's default
        del configured["service.name"]
    return Resource({**known, **configured})
