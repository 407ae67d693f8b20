"""What the attributes of metrics are made of: records of which that is the same have the same attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from opentelemetry.util.types import AttributeValue

from otel_tcplife.attribute import Attribute, values_of_records
from otel_tcplife.factorize import factorize
from otel_tcplife.session import rows_at
from otel_tcplife.session_columns import SessionColumns

Attributes = Mapping[str, AttributeValue]

_NUMBERS = np.dtype(
    [
        ("server_port", np.uint16),
        ("error", np.int16),
        ("network", np.int16),
        ("ip_version", np.uint8),
        ("role", np.uint8),
        ("is_session", np.bool_),
        ("reserved", np.uint8, 3),
        ("entity", np.int32),
    ]
)
"""All but the name of the executable; `entity` is an index among those of the batch."""
_WITHOUT_ENTITY = _NUMBERS.itemsize - 4

Key = tuple[int, bytes]
"""The index of an entity among those of a batch, and what is the same of several records of it."""


class Keys:
    """The different keys of a batch, and which of them each record has."""

    def __init__(self, columns: SessionColumns) -> None:
        numbers = np.zeros(len(columns), _NUMBERS)
        for column in ("ip_version", "role"):
            numbers[column] = columns.batch[column]
        numbers["server_port"] = np.where(columns.server_port.present, columns.server_port.values, 0)
        numbers["error"] = columns.error_number
        numbers["is_session"] = columns.sessions
        numbers["network"] = columns.peer_network_codes
        numbers["entity"], self.entities = columns.entities
        first, self.of_records = factorize(columns.batch["executable"], numbers)
        contents: list[bytes] = numbers[first].view(f"V{_NUMBERS.itemsize}").tolist()
        names: list[bytes] = columns.batch["executable"][first].tolist()
        entities: list[int] = numbers["entity"][first].tolist()
        self.different: list[Key] = [
            (entity, content[:_WITHOUT_ENTITY] + name) for entity, content, name in zip(entities, contents, names)
        ]
        self._examples = rows_at(columns.batch, first)
        self._host = columns.host

    def attributes(self, keys: Sequence[int], made_of: Sequence[Attribute]) -> Iterator[Attributes]:
        """Attributes of some of the keys, each as a record has them that has the key."""
        return values_of_records(made_of, SessionColumns(rows_at(self._examples, np.array(keys, np.intp)), self._host))
