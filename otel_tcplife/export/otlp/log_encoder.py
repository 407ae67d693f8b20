"""SessionBatch to OTLP log records, straight from the columns (opentelemetry/proto/logs/v1/logs.proto)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_tcplife import conventions
from otel_tcplife.body import body_columns
from otel_tcplife.columns import Codes, DictionaryColumn, Flags
from otel_tcplife.conventions import ENTITY_ATTRIBUTES, INFO, WARN, Attribute, attributes_with
from otel_tcplife.export.otlp import protobuf as wire
from otel_tcplife.export.otlp.protobuf import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, Choice, Part, Piece
from otel_tcplife.export.resource import Resources
from otel_tcplife.host import THE_HOST, UNKNOWN_HOST, Entity, Host
from otel_tcplife.log_options import LogOptions
from otel_tcplife.session import SessionBatch, rows_at
from otel_tcplife.session_columns import SessionColumns
from otel_tcplife.version import __version__

# Field numbers of LogRecord, ScopeLogs, ResourceLogs and ExportLogsServiceRequest
_TIME, _SEVERITY_NUMBER, _SEVERITY_TEXT, _BODY, _ATTRIBUTES, _OBSERVED_TIME, _EVENT_NAME = 1, 2, 3, 5, 6, 11, 12
_FLAGS, _TRACE_ID, _SPAN_ID = 8, 9, 10
_RESOURCE = _SCOPE = _RESOURCE_LOGS = 1
_SCOPE_LOGS = _LOG_RECORDS = 2
_SCHEMA_URL = 3
# Field numbers of KeyValue and AnyValue
_KEY, _VALUE = 1, 2
_STRING, _BOOL, _INT, _DOUBLE = 1, 2, 3, 4


_WITHOUT_OPTIONS = LogOptions()


_REMEMBERED_RESOURCES = 1024


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
        columns = SessionColumns(batch, self._host, self._sample)
        codes, entities = self._resources_of(columns)
        pieces = _records(columns, self._attributes)
        records = [block.data for block in wire.join(pieces, len(batch))]
        if len(entities) == 1:
            return b"".join(self._resource_logs(entities[0], records))
        every = memoryview(b"".join(records))
        last_of_each = np.flatnonzero(np.diff(codes, append=-1))
        ends = np.cumsum(wire.record_lengths(pieces, len(batch)), dtype=np.int64)[last_of_each].tolist()
        found: list[int] = codes[last_of_each].tolist()
        runs = zip(found, [0, *ends], ends)
        return b"".join(
            part for code, start, end in runs for part in self._resource_logs(entities[code], [every[start:end]])
        )

    def _resources_of(self, columns: SessionColumns) -> tuple[Codes, Sequence[Entity]]:
        """The entities that have resources of their own, and for each session the index among these."""
        return (np.zeros(len(columns), np.intp), [THE_HOST]) if self._has_one_resource else columns.entities

    def _resource_logs(self, entity: Entity, records: Sequence[memoryview]) -> Iterable[bytes | memoryview]:
        """The resource_logs field of a request."""
        length = sum(map(len, records))
        scope_logs = wire.before(_SCOPE_LOGS, len(self._scope) + length) + self._scope
        resource_logs = self._resource(entity) + scope_logs
        return [wire.before(_RESOURCE_LOGS, len(resource_logs) + length), resource_logs, *records]


def _records(columns: SessionColumns, attributes: Iterable[Attribute]) -> Sequence[Piece]:
    """The log_records field of a ScopeLogs message, for each session."""
    batch = columns.batch
    parts = [
        wire.fixed64(batch["closed_at"], wire.tag(_TIME, FIXED64)),
        wire.fixed64(batch["observed_at"], wire.tag(_OBSERVED_TIME, FIXED64)),
        *_span(batch),
        *_body(columns),
        wire.Choice(columns.error.present.astype(np.intp), [_severity(*INFO), _severity(*WARN)]),
        _texts(conventions.event_name(columns), _EVENT_NAME),
        *(_attribute(attribute, columns) for attribute in attributes),
    ]
    return wire.prefixed(wire.tag(_LOG_RECORDS, LENGTH_DELIMITED), parts, len(batch))


def _span(batch: SessionBatch) -> list[Piece]:
    """The fields of the span in which it connected, where these are asked for and known."""
    if "trace_id" not in (batch.dtype.names or ()):
        return []
    known: Flags = np.asarray(batch["trace_id"].any(axis=1), np.bool_)
    flags = batch["trace_flags"].astype(np.uint32).view(np.uint8).reshape(-1, 4)
    fields = (
        wire.fixed_bytes(batch["trace_id"], wire.before(_TRACE_ID, 16)),
        wire.fixed_bytes(batch["span_id"], wire.before(_SPAN_ID, 8)),
        wire.fixed_bytes(flags, wire.tag(_FLAGS, FIXED32)),
    )
    return [field.where(known) for field in fields]


def _severity(number: int, text: str) -> bytes:
    return wire.tag(_SEVERITY_NUMBER, VARINT) + wire.varint(number) + wire.delimited(_SEVERITY_TEXT, text.encode())


def _body(columns: SessionColumns) -> list[Piece]:
    parts = map(wire.text, body_columns(columns))
    any_value = wire.prefixed(wire.tag(_STRING, LENGTH_DELIMITED), parts, len(columns))
    return wire.prefixed(wire.tag(_BODY, LENGTH_DELIMITED), any_value, len(columns))


def _texts(column: DictionaryColumn, number: int) -> Choice:
    return Choice(column.codes, [wire.delimited(number, text) for text in column.encoded])


def _attribute(attribute: Attribute, columns: SessionColumns) -> Part:
    """A KeyValue in the attributes field."""
    column = attribute.column(columns)
    if isinstance(column, DictionaryColumn):
        before = {length: _before_text(attribute.name, length) for length in set(map(len, column.encoded))}
        return Choice(column.codes, [before[len(text)] + text for text in column.encoded])
    if attribute.kind == "double":
        number = wire.fixed64(column.values, _before_number(attribute.name, 8) + wire.tag(_DOUBLE, FIXED64))
    else:
        number = _varints(attribute, column.values)
    return number.where(column.present)


def _varints(attribute: Attribute, values: npt.NDArray[np.uint64]) -> Piece:
    before = _before_number(attribute.name, 0)
    number = wire.varints(values, before + wire.tag(_INT if attribute.kind == "int" else _BOOL, VARINT))

    def write(matrix: wire.Matrix, rows: slice) -> None:
        number.write(matrix, rows)
        # Of the KeyValue, and of its value: each is below 128, one byte
        lengths = np.int32(number.width) if number.lengths is None else number.lengths[rows]
        matrix[:, 1] = lengths - 2
        matrix[:, len(before) - 1] = lengths - len(before)

    return replace(number, write=write)


def _before_number(name: str, length: int) -> bytes:
    """What stands before the tag of a number of this length in a KeyValue of the attributes field."""
    value = wire.delimited(_KEY, name.encode()) + wire.before(_VALUE, 1 + length)
    return wire.before(_ATTRIBUTES, len(value) + 1 + length) + value


@lru_cache(maxsize=4096)
def _before_text(name: str, length: int) -> bytes:
    """What stands before a text of this length in a KeyValue of the attributes field."""
    any_value = wire.before(_STRING, length)
    value = wire.delimited(_KEY, name.encode()) + wire.before(_VALUE, len(any_value) + length) + any_value
    return wire.before(_ATTRIBUTES, len(value) + length) + value


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
