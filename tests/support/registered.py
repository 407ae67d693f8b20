"""Compares OTLP JSON with docs/registry/: what is sent and not in the registry, or not as that has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from otel_tcplife.conventions import SCHEMA_URL
from tests.registry import DIRECTORY, contract, is_ours
from tests.support import semantic_conventions

_KINDS = {"stringValue": "string", "intValue": "int", "doubleValue": "double", "boolValue": "boolean"}
_OPEN = ("error.type", "otel.component.type", "tcplife.peer.network")
"""Attributes that can have other values than those that are named."""


class Registry:
    """What is declared: attributes with type and values, and for each event and metric the names of its attributes.

    Of what the semantic conventions define, the types and the attributes of metrics are those of our code.
    """

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self.types: dict[str, str] = {}
        self.values: dict[str, frozenset[str]] = {}
        self.events: dict[str, frozenset[str]] = {}
        self.metrics: dict[str, tuple[str, str]] = {}
        self.of_metric: dict[str, frozenset[str]] = {}
        self._groups: dict[str, frozenset[str]] = {}
        self._add_theirs()
        for name in ("attributes.yaml", "events.yaml", "metrics.yaml"):
            content = yaml.safe_load((directory / name).read_text())
            for group in content["groups"]:
                self._add(group)
            for metric in content.get("imports", {}).get("metrics", []):
                self.metrics[metric] = semantic_conventions.metrics()[metric]
        self.resource = self._groups["attributes.tcplife.resource"]

    def _add_theirs(self) -> None:
        named = semantic_conventions.attributes()
        for name, definition in contract().definitions().items():
            if not is_ours(name):
                self.types[name], self.values[name] = definition.kind, named[name]
        for metric in contract().metrics:
            if not is_ours(metric.name):
                self.of_metric[metric.name] = frozenset(each.name for each in metric.attributes)

    def _add(self, group: Mapping[str, Any]) -> None:
        attributes = group.get("attributes", [])
        for each in attributes:
            if "id" in each:
                self._define(each)
        own = frozenset(str(each.get("ref") or each["id"]) for each in attributes)
        names = self._groups[group["id"]] = own | self._groups.get(group.get("extends", ""), frozenset())
        if group["type"] == "event":
            self.events[group["name"]] = names
        elif group["type"] == "metric":
            self.metrics[group["metric_name"]] = group["instrument"], group["unit"]
            self.of_metric[group["metric_name"]] = names

    def _define(self, attribute: Mapping[str, Any]) -> None:
        kind: Any = attribute["type"]
        is_text = isinstance(kind, str)
        self.types[attribute["id"]] = kind if is_text else "string"
        self.values[attribute["id"]] = frozenset() if is_text else frozenset(each["value"] for each in kind["members"])

    def differences(self, request: Mapping[str, Any]) -> Iterator[str]:
        """Of a request of logs or metrics, as OTLP JSON."""
        for signal, scopes, items in (
            ("resourceLogs", "scopeLogs", "logRecords"),
            ("resourceMetrics", "scopeMetrics", "metrics"),
        ):
            for of_resource in request.get(signal, []):
                yield from self._attributes("the resource", of_resource["resource"]["attributes"], self.resource)
                yield from _schema_url("the resource", of_resource)
                for of_scope in of_resource[scopes]:
                    yield from _schema_url("the scope", of_scope)
                    for item in of_scope[items]:
                        yield from self._of_log(item) if signal == "resourceLogs" else self._of_metric(item)

    def _of_log(self, record: Mapping[str, Any]) -> Iterator[str]:
        name = record.get("eventName", "")
        if name not in self.events:
            yield f"there is no event {name!r}"
            return
        yield from self._attributes(name, record.get("attributes", []), self.events[name])

    def _of_metric(self, metric: Mapping[str, Any]) -> Iterator[str]:
        name = metric["name"]
        if name not in self.metrics:
            yield f"there is no metric {name}"
            return
        instrument, points = _instrument_and_points(metric)
        if (instrument, metric.get("unit", "")) != self.metrics[name]:
            yield f"{name} is {instrument} in {metric.get('unit')}, not {self.metrics[name]}"
        for point in points:
            yield from self._attributes(name, point.get("attributes", []), self.of_metric[name])

    def _attributes(self, owner: str, items: Iterable[Mapping[str, Any]], declared: frozenset[str]) -> Iterator[str]:
        for item in items:
            name = item["key"]
            if name not in declared:
                yield f"{owner} has no {name}"
                continue
            [(field, value)] = item["value"].items()
            if _KINDS.get(field) != self.types[name]:
                yield f"{owner}: {name} is {field}, not {self.types[name]}"
            if self.values[name] and name not in _OPEN and value not in self.values[name]:
                yield f"{owner}: {name} is {value!r}, not one of {sorted(self.values[name])}"


def _schema_url(owner: str, of: Mapping[str, Any]) -> Iterator[str]:
    if of.get("schemaUrl") != SCHEMA_URL:
        yield f"{owner} has the schema URL {of.get('schemaUrl')}"


def _instrument_and_points(metric: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]]:
    for field in ("histogram", "exponentialHistogram"):
        if field in metric:
            return "histogram", metric[field]["dataPoints"]
    if "sum" in metric:
        return "counter" if metric["sum"].get("isMonotonic") else "updowncounter", metric["sum"]["dataPoints"]
    return "gauge", metric["gauge"]["dataPoints"]
