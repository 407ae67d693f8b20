"""Sessions as LogRecords: the pieces that each record is put together of (opentelemetry/proto/logs/v1/logs.proto)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from otel_tcplife import conventions
from otel_tcplife.attribute import Attribute
from otel_tcplife.body import body_columns
from otel_tcplife.columns import DictionaryColumn, Flags
from otel_tcplife.conventions import INFO, WARN
from otel_tcplife.export.otlp import protobuf as wire
from otel_tcplife.export.otlp.numbers import fixed64, fixed_bytes, varints
from otel_tcplife.export.otlp.pieces import MOST_COMBINATIONS, NOTHING, Choice, Part, Piece, behind, look_up
from otel_tcplife.export.otlp.protobuf import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT
from otel_tcplife.session import SessionBatch
from otel_tcplife.session_columns import SessionColumns

# Field numbers of LogRecord and ScopeLogs
_TIME, _SEVERITY_NUMBER, _SEVERITY_TEXT, _BODY, _ATTRIBUTES, _OBSERVED_TIME, _EVENT_NAME = 1, 2, 3, 5, 6, 11, 12
_FLAGS, _TRACE_ID, _SPAN_ID = 8, 9, 10
_LOG_RECORDS = 2
# Field numbers of KeyValue and AnyValue
_KEY, _VALUE = 1, 2
_STRING, _BOOL, _INT, _DOUBLE = 1, 2, 3, 4

_ONE_BYTE = 1 << 7
"""Lengths that are less take one byte."""


def log_records(columns: SessionColumns, attributes: Iterable[Attribute]) -> Sequence[Piece]:
    """The log_records field of a ScopeLogs message, for each session."""
    batch = columns.batch
    parts = [
        *_body(columns),
        *(_attribute(attribute, columns) for attribute in attributes),
        # What each record has is at its end: what does not count of a piece is written over there, see joined.py
        Choice(columns.error.present.astype(np.intp), _SEVERITIES),
        _texts(conventions.event_name(columns), _EVENT_NAME),
        *_span(batch),
        fixed64(batch["observed_at"], wire.tag(_OBSERVED_TIME, FIXED64)),
        fixed64(batch["closed_at"], wire.tag(_TIME, FIXED64)),
    ]
    return wire.prefixed(wire.tag(_LOG_RECORDS, LENGTH_DELIMITED), parts, len(batch))


def _span(batch: SessionBatch) -> list[Piece]:
    """The fields of the span in which it connected, where these are asked for and known."""
    if "trace_id" not in (batch.dtype.names or ()):
        return []
    known: Flags = np.asarray(batch["trace_id"].any(axis=1), np.bool_)
    flags = batch["trace_flags"].astype(np.uint32).view(np.uint8).reshape(-1, 4)
    fields = (
        fixed_bytes(batch["trace_id"], wire.before(_TRACE_ID, 16)),
        fixed_bytes(batch["span_id"], wire.before(_SPAN_ID, 8)),
        fixed_bytes(flags, wire.tag(_FLAGS, FIXED32)),
    )
    return [field.where(known) for field in fields]


def _severity(number: int, text: str) -> bytes:
    return wire.tag(_SEVERITY_NUMBER, VARINT) + wire.varint(number) + wire.delimited(_SEVERITY_TEXT, text.encode())


_SEVERITIES = [_severity(*INFO), _severity(*WARN)]


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
        return _of_texts(attribute.name, column)
    if not column.present.any():
        return NOTHING
    if attribute.kind == "double":
        number = fixed64(column.values, wire.tag(_DOUBLE, FIXED64))
    else:
        number = varints(column.values, wire.tag(_INT if attribute.kind == "int" else _BOOL, VARINT))
    return _key_value(attribute.name, number).where(column.present)


def _of_texts(name: str, column: DictionaryColumn) -> Part:
    if len(column.encoded) > MOST_COMBINATIONS:
        # Putting something before each of so many texts costs more than doing that before each record, at once
        text = behind(wire.before(_STRING, 0), look_up(Choice(column.codes, column.encoded)), [1])
        if len(_before_value(name)) + text.width <= _ONE_BYTE:
            return _key_value(name, text).where(column.present)
    before = {length: _before_text(name, length) for length in set(map(len, column.encoded))}
    return Choice(column.codes, [before[len(text)] + text for text in column.encoded])


def _key_value(name: str, value: Piece) -> Piece:
    """A KeyValue in the attributes field, with this field of an AnyValue."""
    before = _before_value(name)
    return behind(before, value, [1, len(before) - 1])


@lru_cache(maxsize=1024)
def _before_value(name: str) -> bytes:
    """What stands before the value of a KeyValue in the attributes field; both lengths are to be set, one byte each."""
    return wire.before(_ATTRIBUTES, 0) + wire.delimited(_KEY, name.encode()) + wire.before(_VALUE, 0)


@lru_cache(maxsize=4096)
def _before_text(name: str, length: int) -> bytes:
    """What stands before a text of this length in a KeyValue of the attributes field."""
    any_value = wire.before(_STRING, length)
    value = wire.delimited(_KEY, name.encode()) + wire.before(_VALUE, len(any_value) + length) + any_value
    return wire.before(_ATTRIBUTES, len(value) + length) + value
