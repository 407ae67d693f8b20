"""docs/registry/, made from the code that it restates: `python -m tests.registry` writes it there.

The format is that of the semantic conventions (https://github.com/open-telemetry/weaver/blob/main/schemas/semconv-syntax.md).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from otel_tcplife.attribute import Attribute, Definition
from otel_tcplife.conventions import ATTRIBUTES, ENTITY_ATTRIBUTES, EVENT_NAMES, SCHEMA_URL
from otel_tcplife.error_types import ERROR_TYPES
from otel_tcplife.instruments import COUNTERS, HISTOGRAMS, OVERFLOW_ATTRIBUTE, SUMS, SessionMetric
from otel_tcplife.own_metrics import OPERATION_ATTRIBUTES, OPERATION_DURATION, OWN_COUNTERS
from otel_tcplife.session import Event
from otel_tcplife.version import __version__

DIRECTORY = Path(__file__).resolve().parents[1] / "docs" / "registry"
CONTRACT = DIRECTORY / "contract.txt"
"""The contract as it was recorded last."""

_RECORDED = "# The contract, recorded by `python -m tests.registry record` for version "
_HEAD = "# Made by `python -m tests.registry` from the code.\n"
_DEVELOPMENT = {"stability": "development"}
_NOT_UPSTREAM = ("network.community_id", OVERFLOW_ATTRIBUTE.name)
"""Names without our prefix that the semantic conventions do not have either."""
_SESSION, _RESOURCE = "attributes.tcplife.session", "attributes.tcplife.resource"
_EVENT_BRIEFS = {
    Event.SESSION_CLOSED: "A TCP session has come to its end.",
    Event.CONNECT_FAILED: "A connect has failed: it never reached ESTABLISHED.",
    Event.SESSION_PROGRESS: "A TCP session goes on: an interim report.",
}
_ABSENT: Mapping[Event, Sequence[str]] = {
    Event.SESSION_CLOSED: (),
    Event.CONNECT_FAILED: (
        "tcplife.bytes.received", "tcplife.bytes.sent", "tcplife.close.reason", "tcplife.rtt.min",
        "tcplife.rtt.smoothed", "tcplife.sampling.ratio", "tcplife.segments.out_of_order",
        "tcplife.session.duration", "tcplife.session.id", "tcplife.start_observed",
    ),
    Event.SESSION_PROGRESS: ("error.type", "tcplife.close.reason"),
}  # fmt: skip
"""Attributes that no record of an event has."""
RESOURCE = (
    "service.name", "service.version", "service.instance.id", "host.id", "host.name", "host.arch", "os.type",
    "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version",
)  # fmt: skip
"""What the host agent says of itself and of its host."""


@dataclass(frozen=True)
class Metric:
    """A metric of the contract, of whatever kind it is in the code."""

    name: str
    instrument: str
    unit: str
    brief: str
    attributes: tuple[Definition, ...]


@dataclass(frozen=True)
class Contract:
    """What is promised."""

    events: Mapping[Event, tuple[Attribute, ...]]
    """With the attributes that their records may have."""
    metrics: tuple[Metric, ...]
    resource: tuple[str, ...]
    """Attributes of resources, all of them texts."""

    def definitions(self) -> dict[str, Definition]:
        """All attributes by name, with the members that they have anywhere."""
        found: dict[str, Definition] = {name: Definition(name, "string", "") for name in self.resource}
        owners = [*self.events.values(), *(metric.attributes for metric in self.metrics)]
        for each in (each for attributes in owners for each in attributes):
            known = found.get(each.name, each)
            assert known.kind == each.kind, f"{each.name} has two types"
            members = tuple(dict.fromkeys([*known.members, *each.members]))
            found[each.name] = Definition(each.name, each.kind, each.brief, members=members, examples=each.examples)
        return found

    def lines(self) -> list[str]:
        """Each promise as a line: a change breaks the contract if one of them goes."""
        lines: set[str] = {f"resource has {name}" for name in self.resource}
        for each in self.definitions().values():
            lines |= {f"attribute {each.name} is {each.kind}", *(f"attribute {each.name}={it}" for it in each.members)}
        for event, attributes in self.events.items():
            name = EVENT_NAMES[event]
            lines |= {f"event {name}", *(f"event {name} has {each.name}" for each in attributes)}
        for metric in self.metrics:
            lines.add(f"metric {metric.name} is {metric.instrument} in {metric.unit}")
            lines |= {f"metric {metric.name} has {each.name}" for each in metric.attributes}
        return sorted(lines)


def contract() -> Contract:
    """That of the code as it is."""
    metrics = [
        *(Metric(each.name, "histogram", each.unit, each.brief, _measured(each)) for each in HISTOGRAMS),
        *(Metric(each.name, "counter", each.unit, each.brief, _measured(each)) for each in SUMS),
        *(
            Metric(each.name, each.instrument, each.unit, each.brief, each.attributes)
            for each in (*COUNTERS, *OWN_COUNTERS)
        ),
    ]
    own = OPERATION_DURATION
    metrics.append(Metric(own.name, "histogram", own.unit, own.brief, OPERATION_ATTRIBUTES))
    resource = (*RESOURCE, *(each.name for each in ENTITY_ATTRIBUTES))
    record = (*ATTRIBUTES, *ENTITY_ATTRIBUTES)
    events = {event: tuple(each for each in record if each.name not in _ABSENT[event]) for event in EVENT_NAMES}
    return Contract(events, tuple(metrics), resource)


def _measured(metric: SessionMetric) -> tuple[Definition, ...]:
    """Attributes of its data points, with those of its measurements and that of the data point over the limit."""
    values: dict[str, list[str]] = {}
    for measurement in metric.measurements:
        for name, value in measurement.attributes.items():
            values.setdefault(name, []).append(value)
    of_measurements = [Definition(name, "string", "", members=tuple(members)) for name, members in values.items()]
    return (*metric.attributes, *of_measurements, OVERFLOW_ATTRIBUTE)


def is_ours(name: str) -> bool:
    """Whether we define the attribute or metric, as opposed to the semantic conventions."""
    return name.startswith("tcplife.") or name in _NOT_UPSTREAM


def files(of: Contract) -> dict[str, str]:
    """The registry by names of files."""
    return {
        "manifest.yaml": _yaml(_manifest()),
        "attributes.yaml": _yaml({"groups": list(_attribute_groups(of))}),
        "events.yaml": _yaml({"groups": list(_events(of))}),
        "metrics.yaml": _yaml(
            {
                "groups": [_metric(each) for each in of.metrics if is_ours(each.name)],
                "imports": {"metrics": [each.name for each in of.metrics if not is_ours(each.name)]},
            }
        ),
    }


def _manifest() -> dict[str, Any]:
    version = SCHEMA_URL.rpartition("/")[2]
    return {
        # Nothing is served there: the format wants a URL that ends in the version (RFC 2606 has the domain)
        "schema_url": f"https://otel-tcplife.invalid/schemas/{__version__}",
        "description": "What otel-tcplife sends: an event for each TCP session, and metrics.",
        **_DEVELOPMENT,
        "dependencies": [
            {
                "schema_url": SCHEMA_URL,
                "registry_path": f"https://github.com/open-telemetry/semantic-conventions@v{version}[model]",
            }
        ],
    }


def _attribute_groups(of: Contract) -> Iterable[dict[str, Any]]:
    group = {"type": "attribute_group", **_DEVELOPMENT}
    yield {
        "id": "registry.tcplife",
        **group,
        "display_name": "tcplife Attributes",
        "brief": "Attributes that otel-tcplife defines.",
        "attributes": [_defined(each) for name, each in of.definitions().items() if is_ours(name)],
    }
    yield {
        "id": _SESSION,
        **group,
        "brief": "Attributes of all events. One that is not known is absent.",
        "attributes": [_recorded(each) for each in _shared(of)],
    }
    yield {
        "id": _RESOURCE,
        **group,
        "brief": "Attributes of resources. Those of a container or a pod are on the resource of its sessions.",
        "attributes": [{"ref": name} for name in of.resource],
    }


def _defined(attribute: Definition) -> dict[str, Any]:
    members = [{"id": each, "value": each, **_DEVELOPMENT} for each in attribute.members]
    assert members or attribute.examples or attribute.kind != "string", f"{attribute.name} needs examples"
    return {
        "id": attribute.name,
        "type": {"members": members} if members else attribute.kind,
        **_DEVELOPMENT,
        "brief": _sentence(attribute.brief),
        **({"examples": list(attribute.examples)} if attribute.examples else {}),
    }


def _recorded(attribute: Attribute) -> dict[str, Any]:
    """A reference, and what we mean by it where others define it."""
    reference: dict[str, Any] = {"ref": attribute.name}
    if not is_ours(attribute.name):
        reference["brief"] = _sentence(attribute.brief)
    if attribute.name == "error.type":
        reference["examples"] = list(ERROR_TYPES)
    if attribute.option:
        reference |= {"requirement_level": "opt_in", "note": f"With `{attribute.option.variable}`."}
    return reference


def _shared(of: Contract) -> list[Attribute]:
    """Attributes of all events."""
    first, *others = of.events.values()
    return [each for each in first if all(each in other for other in others)]


def _events(of: Contract) -> Iterable[dict[str, Any]]:
    shared = _shared(of)
    for event, attributes in of.events.items():
        head = {"id": f"event.{EVENT_NAMES[event]}", "type": "event", "name": EVENT_NAMES[event], **_DEVELOPMENT}
        own = [_recorded(each) for each in attributes if each not in shared]
        yield {**head, "brief": _EVENT_BRIEFS[event], "extends": _SESSION, "attributes": own}


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "id": f"metric.{metric.name}",
        "type": "metric",
        "metric_name": metric.name,
        **_DEVELOPMENT,
        "brief": metric.brief,
        "instrument": metric.instrument,
        "unit": metric.unit,
        "attributes": [{"ref": each.name} for each in metric.attributes],
    }


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _yaml(content: Mapping[str, Any]) -> str:
    return _HEAD + yaml.safe_dump(content, sort_keys=False, width=120)


def recorded() -> tuple[str, list[str]]:
    """The version that CONTRACT was written for, and what it promises."""
    head, *lines = CONTRACT.read_text().splitlines()
    return head.removeprefix(_RECORDED), lines


def broken(now: Contract) -> list[str]:
    """What was promised and is no more."""
    kept = now.lines()
    return [line for line in recorded()[1] if line not in kept]


def _write(of: Contract) -> None:
    for name, text in files(of).items():
        (DIRECTORY / name).write_text(text)


def _record(of: Contract) -> None:
    for line in broken(of):
        print("no more:", line)
    CONTRACT.write_text("\n".join([_RECORDED + __version__, *of.lines(), ""]))


if __name__ == "__main__":
    _write(contract())
    if sys.argv[1:] == ["record"]:
        _record(contract())
