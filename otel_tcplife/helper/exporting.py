"""What the helper does with sessions. It imports this while the program is being loaded, as it takes longer."""

from __future__ import annotations

import socket
from typing import Any

from opentelemetry.sdk.resources import Resource

from otel_tcplife.allocator import keep_what_there_is
from otel_tcplife.export.otlp.sinks import Opening
from otel_tcplife.export.resource import Resources
from otel_tcplife.helper.watch import Watch
from otel_tcplife.options import Options
from otel_tcplife.pipeline.counters import counters
from otel_tcplife.pipeline.deadline import Deadline
from otel_tcplife.pipeline.destinations import Destinations, read_destinations
from otel_tcplife.pipeline.ledger import Ledger
from otel_tcplife.pipeline.limits import COMMAND
from otel_tcplife.pipeline.run import Pipeline
from otel_tcplife.pipeline.scan_requests import ScanRequests
from otel_tcplife.pipeline.self_telemetry import SelfTelemetry
from otel_tcplife.probe.live import LiveSource
from otel_tcplife.probe.loader import AttachedProgram


def destinations_of(request: Any) -> Destinations:
    """Where the telemetry goes of the application that asks for it. Raise BadUsage."""
    resource = Resource(request["resource"], request["schema_url"])
    return read_destinations(None, resources=Resources(resource, is_of_application=True))


def export(
    attached: AttachedProgram, options: Options, destinations: Destinations, wire: socket.socket, process: int
) -> list[str]:
    """Export until it is time to end; return the balance, a line for each part."""
    source = LiveSource(attached, options, is_begun=True)
    try:
        deadline, ledger = Deadline(COMMAND.shutdown_within), Ledger()
        scans = ScanRequests()
        values = counters(source.stats, ledger)
        opening = Opening(values, deadline, source.host, ledger, SelfTelemetry(), scans, options.logs)
        pipeline = Pipeline(source, destinations.open(opening), ledger, deadline, COMMAND, scans)
        assert attached.processes is not None
        Watch(wire, process, attached.processes, source.stats, deadline).start()
        keep_what_there_is()
        pipeline.run()
        return pipeline.balance()
    finally:
        source.close()
