"""SessionBatch to OTLP requests, straight from the columns (opentelemetry/proto/logs/v1/logs.proto)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_tcplife import conventions
from otel_tcplife.columns import Codes, Flags
from otel_tcplife.conventions import ENTITY_ATTRIBUTES, attributes_with
from otel_tcplife.export.otlp import protobuf as wire
from otel_tcplife.export.otlp.joined import Joined
from otel_tcplife.export.otlp.log_records import log_records
from otel_tcplife.export.otlp.request import Request
from otel_tcplife.export.resource import Resources
from otel_tcplife.host import THE_HOST, UNKNOWN_HOST, Entity, Host
from otel_tcplife.log_options import LogOptions
from otel_tcplife.session import SessionBatch, rows_at
from otel_tcplife.session_columns import SessionColumns
from otel_tcplife.version import __version__

# Field numbers of ScopeLogs, ResourceLogs and ExportLogsServiceRequest
_RESOURCE = _SCOPE = _RESOURCE_LOGS = 1
_SCOPE_LOGS = 2
_SCHEMA_URL = 3


_WITHOUT_OPTIONS = LogOptions()


_REMEMBERED_RESOURCES = 1024
_LENGTHS = 12
"""Bytes of the keys and lengths of resource_logs and scope_logs at most."""


class LogEncoder:
    """Encodes ExportLogsServiceRequests, in which the sessions of each entity are below its resource, if it has one."""

    def __init__(self, resources: Resources, host: Host = UNKNOWN_HOST, options: LogOptions = _WITHOUT_OPTIONS) -> None:
        """`host` is that of the sessions."""
        self._host = host
        self._sample = options.log_sample
        # Dictionary columns that follow one another are looked up together
        of_records = ENTITY_ATTRIBUTES if resources.is_of_application else ()
        made_of = [*attributes_with(options), *of_records]
        self._attributes = sorted(made_of, key=lambda attribute: attribute.kind != "string")
        self._has_one_resource = resources.is_of_application
        scope = InstrumentationScope(name=conventions.SCOPE, version=__version__)
        schema_url = wire.delimited(_SCHEMA_URL, conventions.SCHEMA_URL.encode())
        self._scope = wire.delimited(_SCOPE, scope.SerializeToString()) + schema_url

        def encoded(entity: Entity) -> bytes:
            resource = resources.of(entity)
            attributes = [KeyValue(key=key, value=_any_value(value)) for key, value in resource.attributes.items()]
            of_resource = wire.delimited(_SCHEMA_URL, resource.schema_url.encode()) if resource.schema_url else b""
            return wire.delimited(_RESOURCE, Resource(attributes=attributes).SerializeToString()) + of_resource

        self._resource = lru_cache(_REMEMBERED_RESOURCES)(encoded)

    def in_order(self, batch: SessionBatch) -> SessionBatch:
        """The sessions of each entity behind one another, otherwise in the order that they have."""
        codes, entities = self._resources_of(SessionColumns(batch, self._host))
        return batch if len(entities) < 2 else rows_at(batch, np.argsort(codes, kind="stable"))

    def encode(self, batch: SessionBatch) -> bytes:
        """One request with a log record for each session of the batch, in its order; see in_order()."""
        return b"".join(request.body for request in self.requests(batch, sys.maxsize))

    def requests(self, batch: SessionBatch, most_bytes: int) -> Iterator[Request]:
        """The same in as many requests as it takes for none to be larger, where each has a session at least.

        That is cheaper than a batch for each request: half of what encoding 1,000 sessions costs does not depend on
        their number.
        """
        columns = SessionColumns(batch, self._host, self._sample)
        codes, entities = self._resources_of(columns)
        records = Joined(log_records(columns, self._attributes), len(batch))
        lengths = records.lengths.astype(np.int64)
        before = np.array([len(self._resource(entity)) + len(self._scope) + _LENGTHS for entity in entities])
        # The first record of a request may stand below a resource that the request before it has, too
        for first, end in _cuts(lengths + _begins(codes) * before[codes], most_bytes - int(before.max())):
            runs = _runs(codes[first:end], lengths[first:end])
            heads = {start: self._head(entities[code], size) for start, code, size in runs}
            yield Request(_body(heads, records, lengths[first:end], first), end - first)

    def _resources_of(self, columns: SessionColumns) -> tuple[Codes, Sequence[Entity]]:
        """The entities that have resources of their own, and for each session the index among these."""
        return (np.zeros(len(columns), np.intp), [THE_HOST]) if self._has_one_resource else columns.entities

    def _head(self, entity: Entity, length: int) -> bytes:
        """What stands before so many bytes of records of one entity: the resource_logs field, as far as these."""
        scope_logs = wire.before(_SCOPE_LOGS, len(self._scope) + length) + self._scope
        resource_logs = self._resource(entity) + scope_logs
        return wire.before(_RESOURCE_LOGS, len(resource_logs) + length) + resource_logs


def _begins(codes: Codes) -> Flags:
    """Which sessions have another code than the one before them."""
    return np.diff(codes, prepend=-1) != 0


def _cuts(sizes: npt.NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """The first and the end of each part, none larger than `most` but with one record of these sizes at least."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(ends[first - 1]) if first else 0
        end = max(int(np.searchsorted(ends, before + most, "right")), first + 1)
        yield first, end
        first = end


def _runs(codes: Codes, lengths: npt.NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Of codes that follow one another and are the same: the first record, the code, and how many bytes they have."""
    starts = np.flatnonzero(_begins(codes))
    sizes: list[int] = np.add.reduceat(lengths, starts).tolist()
    return list(zip(starts.tolist(), codes[starts].tolist(), sizes))


def _body(heads: Mapping[int, bytes], records: Joined, lengths: npt.NDArray[np.int64], first: int) -> memoryview:
    """Records of these lengths beginning with `first`, and what stands before some of them."""
    taken = np.array(lengths)
    for record, head in heads.items():
        taken[record] += len(head)
    ends = np.cumsum(taken)
    starts = ends - lengths
    body = np.empty(int(ends[-1]), np.uint8)
    for record, head in heads.items():
        start = int(starts[record])
        body[start - len(head) : start] = np.frombuffer(head, np.uint8)
    records.write(body, starts, first)
    return body.data


def _any_value(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, (list, tuple)):
        items = cast("Iterable[object]", value)
        return AnyValue(array_value=ArrayValue(values=[_any_value(item) for item in items]))
    return AnyValue(string_value=str(value))
