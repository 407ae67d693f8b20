"""Which sessions are counted together: those of the same entity that have the same attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from opentelemetry.util.types import AttributeValue

from otel_tcplife.conventions import Attribute
from otel_tcplife.export.metrics.distribution import Rows
from otel_tcplife.export.metrics.keys import Attributes, Keys
from otel_tcplife.host import THE_HOST, Entity
from otel_tcplife.instruments import CARDINALITY_LIMIT, OVERFLOW

MOST_ROWS = 10 * CARDINALITY_LIMIT
"""Data points of a metric, of all entities; what is over goes to the overflow set of its entity."""
MOST_ENTITIES = 4096
"""Those that have series at the same time; sessions of more go to the overflow set of the host."""


class Row(NamedTuple):
    """What the values in a row are of."""

    entity: Entity
    attributes: Attributes
    """Of the series: those of its measurement, and of the set of what is over the limit, are not in it."""
    measurement: int | None
    """Its index; None for what is over the limit."""


@dataclass
class _Members:
    """What there is of an entity."""

    of_attributes: dict[frozenset[tuple[str, AttributeValue]], int] = field(
        default_factory=dict[frozenset[tuple[str, AttributeValue]], int]
    )
    """The first row of each series."""
    overflow: int | None = None
    rows: list[int] = field(default_factory=list[int])


_NONE = _Members()


class Series:
    """Gives each set of attributes of an entity rows: one for each measurement, or all of what is over the limit one.

    The rows of an entity that is forgotten are given to others.
    """

    def __init__(self, attributes: Sequence[Attribute], measurements: Sequence[Attributes]) -> None:
        """`measurements` are the attributes that each of them has besides."""
        self._made_of = attributes
        self._measurements = measurements
        self._most_of_entity = (CARDINALITY_LIMIT - 1) // len(measurements)
        self._members: dict[Entity, _Members] = {}
        self._free: dict[int, list[int]] = {1: [], len(measurements): []}
        """Rows that others have had, by how many follow one another."""
        self.overflows: set[int] = set()
        """The rows of what is over the limit, one for each entity that has some."""
        self._used = 0
        self.rows: list[Row] = []

    @property
    def entities(self) -> list[Entity]:
        """Those that have rows."""
        return [*self._members]

    def of(self, keys: Keys, wanted: Sequence[int]) -> list[int]:
        """The first row of each of these keys; that of what is over the limit, where there can be no further series."""
        entities = {at: keys.entities[keys.different[at][0]] for at in wanted}
        over = {entity: self._overflow(entity) for entity in {*entities.values()} if self._is_full(entity)}
        rows = {at: over[entity] for at, entity in entities.items() if entity in over}
        others = [at for at in wanted if at not in rows]
        for at, attributes in zip(others, keys.attributes(others, self._made_of) if others else ()):
            rows[at] = self._having(entities[at], attributes)
        return [rows[at] for at in wanted]

    def of_measurement(self, first_rows: Rows, index: int) -> Rows:
        """The rows of a measurement, from those of the first one."""
        rows = first_rows + index
        return np.where(np.isin(first_rows, [*self.overflows]), first_rows, rows) if self.overflows else rows

    def rows_of(self, entity: Entity) -> list[int]:
        """All rows of an entity."""
        members = self._members.get(entity)
        return members.rows if members else []

    def attributes_of(self, row: int) -> Attributes:
        """Those of a data point."""
        _, attributes, measurement = self.rows[row]
        return OVERFLOW if measurement is None else {**attributes, **self._measurements[measurement]}

    def row_like(self, other: Row) -> int:
        """The row of what another row is of, a new one if need be."""
        if other.measurement is None:
            return self._overflow(other.entity)
        first = self._having(other.entity, other.attributes)
        return first if self.rows[first].measurement is None else first + other.measurement

    def forget(self, entity: Entity) -> list[int]:
        """Give the rows of an entity up; return them."""
        members = self._members.pop(entity, _Members())
        self._used -= len(members.rows)
        self._free[len(self._measurements)] += members.of_attributes.values()
        if members.overflow is not None:
            self._free[1].append(members.overflow)
            self.overflows.remove(members.overflow)
        return members.rows

    def _is_full(self, entity: Entity) -> bool:
        """Whether an entity has as many series as it may."""
        members = self._members.get(entity, _NONE)
        return (
            len(members.of_attributes) >= self._most_of_entity
            or self._used >= MOST_ROWS
            or self._is_one_too_many(entity)
        )

    def _is_one_too_many(self, entity: Entity) -> bool:
        return entity not in self._members and entity != THE_HOST and len(self._members) >= MOST_ENTITIES

    def _having(self, entity: Entity, attributes: Attributes) -> int:
        """The first row of these attributes, a new one if need be and there may be more."""
        key = frozenset(attributes.items())
        members = self._members.get(entity)
        if members and key in members.of_attributes:
            return members.of_attributes[key]
        if self._is_full(entity):
            return self._overflow(entity)
        members = self._members.setdefault(entity, _Members())
        rows = [Row(entity, attributes, index) for index in range(len(self._measurements))]
        first = members.of_attributes[key] = self._take(rows, members)
        return first

    def _overflow(self, entity: Entity) -> int:
        """The row of what is over the limit of an entity, or of all entities."""
        if self._is_one_too_many(entity):
            entity = THE_HOST
        members = self._members.setdefault(entity, _Members())
        if members.overflow is None:
            members.overflow = self._take([Row(entity, {}, None)], members)
            self.overflows.add(members.overflow)
        return members.overflow

    def _take(self, rows: list[Row], members: _Members) -> int:
        """Rows that follow one another; return the first of them."""
        free = self._free[len(rows)]
        if free:
            first = free.pop()
            self.rows[first : first + len(rows)] = rows
        else:
            first = len(self.rows)
            self.rows += rows
        members.rows += range(first, first + len(rows))
        self._used += len(rows)
        return first
