"""What an attribute of the telemetry is: its name, type and meaning, and where its value is from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from otel_tcplife.columns import Column
from otel_tcplife.option import Option
from otel_tcplife.session_columns import SessionColumns

Kind = Literal["string", "int", "double", "boolean"]


@dataclass(frozen=True)
class Definition:
    """What an attribute is called, of what type it is, and what it says."""

    name: str
    kind: Kind
    brief: str
    members: tuple[str, ...] = field(default=(), kw_only=True)
    """Its values, where all are known, or all but those that the user chooses."""
    examples: tuple[str, ...] = field(default=(), kw_only=True)
    """Of a text of ours that has no such members, as the format of docs/registry/ asks for them."""


@dataclass(frozen=True)
class Attribute(Definition):
    """One attribute of a record: absent where its column does not know it."""

    column: Callable[[SessionColumns], Column]
    option: Option[object] | None = None
    """Without which no record has it."""

    def values(self, columns: SessionColumns) -> list[str | int | float | bool | None]:
        """One Python value for each record, None where it is absent."""
        values = self.column(columns).to_list()
        return [None if value is None else bool(value) for value in values] if self.kind == "boolean" else [*values]


Values = dict[str, str | int | float | bool]


def values_of_records(attributes: Sequence[Attribute], columns: SessionColumns) -> Iterator[Values]:
    """The attributes that are known of each record."""
    names = [attribute.name for attribute in attributes]
    for values in zip(*(attribute.values(columns) for attribute in attributes)):
        yield {name: value for name, value in zip(names, values) if value is not None}
