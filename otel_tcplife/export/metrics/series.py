"""Which sessions are counted together: those that have the same attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from opentelemetry.util.types import AttributeValue

from otel_tcplife.columns import factorize
from otel_tcplife.conventions import Attribute
from otel_tcplife.host import Host
from otel_tcplife.instruments import CARDINALITY_LIMIT
from otel_tcplife.session import SessionBatch
from otel_tcplife.session_columns import SessionColumns

Attributes = Mapping[str, AttributeValue]

_KEY = np.dtype(
    [
        ("executable", "S64"),
        ("server_port", np.uint16),
        ("error", np.int16),
        ("ip_version", np.uint8),
        ("network", np.int16),
        ("role", np.uint8),
        ("is_session", np.bool_),
        ("reserved", np.uint8, 7),
    ]
)
"""What the attributes of metrics are made of: records with the same key have the same ones."""

_KNOWN_KEYS = 4 * CARDINALITY_LIMIT
"""How many keys are remembered: several can have the same attributes, such as names of bytes that are no text."""

OVERFLOW_SERIES = CARDINALITY_LIMIT - 1
"""What is over the limit."""


class Keys:
    """The different keys of a batch, and which of them each record has."""

    def __init__(self, columns: SessionColumns) -> None:
        keys = np.zeros(len(columns), _KEY)
        for column in ("executable", "ip_version", "role"):
            keys[column] = columns.batch[column]
        keys["server_port"] = np.where(columns.server_port.present, columns.server_port.values, 0)
        keys["error"] = columns.error_number
        keys["is_session"] = columns.sessions
        keys["network"] = columns.peer_network_codes
        first, self.of_records = factorize(keys.view(f"V{_KEY.itemsize}"))
        self.different = [(keys[at].tobytes(), columns.batch[at : at + 1]) for at in first]
        """Each with a record that has it."""


class Series:
    """Numbers the sets of some attributes, in the order in which they come."""

    def __init__(self, attributes: Sequence[Attribute], host: Host) -> None:
        self._made_of = attributes
        self._host = host
        self._of_key: dict[bytes, int] = {}
        self._of_attributes: dict[frozenset[tuple[str, AttributeValue]], int] = {}
        self.attributes: list[Attributes] = []
        """Of each series."""

    def of(self, keys: Keys) -> npt.NDArray[np.intp]:
        """The series of each key."""
        return np.array([self._of(*each) for each in keys.different], np.intp)

    def having(self, attributes: Attributes) -> int:
        """The series of these attributes, a new one if need be; OVERFLOW_SERIES where there are as many as may be."""
        key = frozenset(attributes.items())
        series = self._of_attributes.get(key)
        if series is None:
            if len(self.attributes) == OVERFLOW_SERIES:
                return OVERFLOW_SERIES
            series = self._of_attributes[key] = len(self.attributes)
            self.attributes.append(attributes)
        return series

    def _of(self, key: bytes, example: SessionBatch) -> int:
        series = self._of_key.get(key)
        if series is None:
            if len(self.attributes) == OVERFLOW_SERIES:
                return OVERFLOW_SERIES
            series = self.having(self._attributes_of(example))
            if len(self._of_key) < _KNOWN_KEYS:
                self._of_key[key] = series
        return series

    def _attributes_of(self, example: SessionBatch) -> Attributes:
        columns = SessionColumns(example, self._host)
        values = {attribute.name: attribute.values(columns)[0] for attribute in self._made_of}
        return {name: value for name, value in values.items() if value is not None}
