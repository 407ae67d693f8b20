"""What the telemetry is about: this host, by the standard variables and detectors, and what is observed on it."""

from __future__ import annotations

import os
import re
import socket
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.util.types import AttributeValue

from otel_tcplife.conventions import SCHEMA_URL, entity_attributes
from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.endpoint import error_line
from otel_tcplife.host import Entity
from otel_tcplife.printable import printable
from otel_tcplife.version import __version__

_NAME, _ATTRIBUTES = "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"
_DETECTORS = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
_OF_THE_SDK = ("telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version", "service.instance.id")
"""What the SDK says of itself in its resource, or makes up anew at each start."""
_OF_OUR_SERVICE = ("service.name", "service.version", "service.instance.id", "service.namespace")
_OF_OUR_PLACE = re.compile(r"container\.|process\.|k8s\.(?!node\.|cluster\.)")
"""Of which an agent in a pod is told in OTEL_RESOURCE_ATTRIBUTES, and a detector may tell."""
_INSTANCES = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
"""The namespace of service.instance.id (semantic conventions, "Service")."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""As `host.arch` names what uname(2) does."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Resources:
    """Resources of what the tracer says of itself and of its host, and of each entity that it observes on that."""

    own: Resource
    named: frozenset[str] = frozenset()
    """Attributes that the user has set by a variable."""
    is_of_application: bool = False
    """Whether it is the resource of an application, whoever its sessions are of: what identifies a container or a pod
    is then an attribute of the record, all sessions are in the same series, and the tracer says nothing of itself."""

    @cached_property
    def _shared(self) -> Mapping[str, AttributeValue]:
        """Attributes of our own resource that are true of the entities of this host, too.

        Our service is not theirs, unless the user has named it for all that we send: the Collector's k8sattributes
        processor leaves what it finds as it is. Nor are our container, pod and process.
        """
        return {
            name: value
            for name, value in self.own.attributes.items()
            if not (name in _OF_OUR_SERVICE and name not in self.named) and not _OF_OUR_PLACE.match(name)
        }

    def of(self, entity: Entity) -> Resource:
        """The resource of sessions of this entity."""
        if self.is_of_application:
            return self.own
        identity = entity_attributes(entity)
        return Resource({**self._shared, **identity}, self.own.schema_url) if identity else self.own


def host_resources() -> Resources:
    """OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and resource detectors before what the agent knows of itself.

    Raise BadUsage where a variable of these cannot be what was meant. What a detector or the host's name has that is
    not UTF-8 is U+FFFD.
    """
    check_resource_variables()
    configured = dict(Resource.create().attributes)
    named = OTELResourceDetector().detect().attributes
    if "service.name" not in named and _is_default(configured):
        del configured["service.name"]
    for name in _OF_THE_SDK:
        if name not in named:
            configured.pop(name, None)
    own = Resource({**_known(), **{key: _utf8(value) for key, value in configured.items()}}, SCHEMA_URL)
    return Resources(own, frozenset(named))


def _known() -> dict[str, str]:
    """What is known of this host and this package; what is not known is absent."""
    machine_id, host_name = _machine_id(), printable(socket.gethostname())
    known = {
        "service.name": "otel-tcplife",
        "service.version": __version__,
        # The same after each start on this host, as the semantic conventions make it of a machine id
        "service.instance.id": str(uuid.uuid5(_INSTANCES, machine_id or host_name)),
        "host.id": machine_id,
        "host.name": host_name,
        "host.arch": _ARCHITECTURES.get(os.uname().machine, ""),
        "os.type": "linux",
        "telemetry.sdk.name": "otel-tcplife",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
    }
    return {name: value for name, value in known.items() if value}


def _machine_id() -> str:
    """What machine-id(5) says, empty where there is none."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(OSError, ValueError):
            return uuid.UUID(Path(path).read_text(encoding="ascii").strip()).hex
    return ""


def check_resource_variables(environ: Mapping[str, str] = os.environ) -> None:
    """Raise BadUsage for what the SDK would leave out with a message, or fail on later."""
    for variable in (_NAME, _ATTRIBUTES):
        if _SURROGATE.search(environ.get(variable, "")):  # bytes that are not UTF-8, as Python has them
            raise BadUsage(f"{variable} is not UTF-8", "write it in UTF-8")
    for number, pair in enumerate(environ.get(_ATTRIBUTES, "").split(","), start=1):
        key, equals, _ = pair.partition("=")
        if pair.strip() and not (key.strip() and equals):
            remedy = "separate entries with commas, and percent-encode a comma in a value"
            raise BadUsage(f"{_ATTRIBUTES}: entry {number} is not of the form key=value", remedy)
    for name in environ.get(_DETECTORS, "").split(","):
        if name.strip() not in ("", "*"):
            _check_detector(name.strip())


def _check_detector(name: str) -> None:
    group = "opentelemetry_resource_detector"
    found = next(iter(entry_points(group=group, name=name)), None)
    if not found:
        installed = sorted({entry.name for entry in entry_points(group=group)})
        raise BadUsage(f"{_DETECTORS}: there is no detector {name!r}", f"use some of {', '.join(installed)}")
    try:
        found.load()()
    except Exception as error:
        problem = f"{_DETECTORS}: the detector {name!r} cannot be used: {error_line(error)}"
        raise BadUsage(problem, "mend the package that has it, or leave it out") from error


def _is_default(attributes: Mapping[str, object]) -> bool:
    """Whether the name of the service is what the SDK gives to one without: nobody has named it."""
    executables = (os.path.basename(sys.executable or ""), attributes.get("process.executable.name"))
    return attributes.get("service.name") in ("unknown_service", *(f"unknown_service:{name}" for name in executables))


def _utf8(value: Any) -> Any:
    """The value of an attribute with U+FFFD for what has no UTF-8."""
    if isinstance(value, str):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, (list, tuple)):
        return [_utf8(item) for item in cast("list[Any]", value)]
    return value
