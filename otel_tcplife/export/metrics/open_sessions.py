"""How many sessions are open, by their attributes: what one scan after another finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from opentelemetry.util.types import AttributeValue

from otel_tcplife.export.metrics.keys import Keys
from otel_tcplife.export.metrics.series import Series
from otel_tcplife.host import THE_HOST, UNKNOWN_HOST, Entity, Host
from otel_tcplife.instruments import ACTIVE_ATTRIBUTES
from otel_tcplife.session import SessionBatch
from otel_tcplife.session_columns import SessionColumns

AttributeSet = tuple[Entity, frozenset[tuple[str, AttributeValue]]]


class OpenSessions:
    """What the last scan has found; of the sets of attributes that the one before had, too. One thread adds."""

    def __init__(self, host: Host = UNKNOWN_HOST) -> None:
        self._host = host
        self._found: Mapping[AttributeSet, int] = {}
        self._begin()

    def _begin(self) -> None:
        self._series = Series(ACTIVE_ATTRIBUTES, [{}])
        self._counts: Counter[int] = Counter()

    def add(self, batch: SessionBatch, *, is_last: bool) -> None:
        """Count sessions of a scan, which ends with the last batch of it."""
        if len(batch):
            keys = Keys(SessionColumns(batch, self._host))
            counts: list[int] = np.bincount(keys.of_records).tolist()
            for row, count in zip(self._series.of(keys, range(len(counts))), counts):
                self._counts[row] += count
        if is_last:
            gone = {each: 0 for each, count in self._found.items() if count}
            self._found = {**gone, **{self._set(row): count for row, count in self._counts.items()}}
            self._begin()

    def found(self, total: int) -> Mapping[AttributeSet, int]:
        """Sessions by what they are of and by attributes. Those of all that no process has open have no attributes."""
        found = Counter(self._found)
        found[THE_HOST, frozenset()] += max(total - found.total(), 0)  # some may have ended since the scan
        return found

    def _set(self, row: int) -> AttributeSet:
        return self._series.rows[row].entity, frozenset(self._series.attributes_of(row).items())
