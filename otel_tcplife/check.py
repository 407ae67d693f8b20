"""The --check option: what is there of what is needed, what is missing, and what mends it, in a line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from otel_tcplife.export.otlp_config import OtlpConfig
from otel_tcplife.export.reply import Accepted
from otel_tcplife.export.transport import open_transport
from otel_tcplife.probe.requirements import Check, check_all
from otel_tcplife.wiring import USER_AGENT, Settings

_PATIENCE = 5.0


def check(settings: Settings, show: Callable[[str], None]) -> bool:
    """Show the state of everything that tracing and exporting need; return whether all of it is there."""
    checks = [*check_all(), *_receivers(settings)]
    for each in checks:
        show(f"{'ok     ' if each.ok else 'missing'}  {each.name}: {each.found}{'' if each.ok else f'; {each.remedy}'}")
    return all(each.ok for each in checks)


def _receivers(settings: Settings) -> Iterable[Check]:
    """Whether the collector takes logs, asked by a request without any."""
    if settings.logs:
        yield _receiver(settings.logs)
    else:
        yield Check("collector", True, "no OTLP endpoint is configured for logs, none is needed")


def _receiver(config: OtlpConfig) -> Check:
    transport = open_transport(config, USER_AGENT)
    reply = transport.send(b"", min(config.timeout, _PATIENCE))
    transport.close()
    if isinstance(reply, Accepted):
        return Check("collector", True, f"{config.endpoint} takes logs")
    remedy = "start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT to where it listens"
    return Check("collector", False, f"{config.endpoint}: {reply.reason}", remedy)
