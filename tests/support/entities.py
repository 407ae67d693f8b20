"""Several containers and pods, by the numbers of made-up cgroups."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.sdk.resources import Resource

from otel_tcplife.conventions import SCHEMA_URL
from otel_tcplife.export.resource import Resources
from otel_tcplife.host import THE_HOST, Entity, Host
from otel_tcplife.session import SessionBatch

RESOURCES = Resources(Resource({"host.name": "h", "service.name": "otel-tcplife"}, SCHEMA_URL))
ENTITIES = [THE_HOST, Entity("c" * 64), Entity("d" * 64, "pod-1"), Entity("", "pod-2")]


def entity_of(cgroup: int) -> Entity:
    """Every fourth cgroup is of the same one."""
    return ENTITIES[cgroup % len(ENTITIES)]


HOST = Host(entity_of)


def spread(batch: SessionBatch, cgroups: Iterable[int]) -> SessionBatch:
    """The batch with these cgroups, one for each session."""
    batch["cgroup"] = [*cgroups]
    return batch
