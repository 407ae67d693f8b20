"""The rows that keys have had, so that the attributes of each are made once only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from otel_tcplife.export.metrics.distribution import FEWEST_ROWS, Rows, grown
from otel_tcplife.export.metrics.keys import Keys
from otel_tcplife.export.metrics.series import MOST_ROWS, Series
from otel_tcplife.host import Entity

_MOST_KEYS = 4 * MOST_ROWS
"""Several can have the same attributes, such as names of bytes that are no text."""
_UNKNOWN = -1

Matrix = npt.NDArray[np.intp]


class KnownKeys:
    """Looks each key of a batch up once, for all of several series."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._series = [*series]
        self._numbers: dict[Entity, dict[bytes, int]] = {}
        """Of keys that have a row of their own in one of the series at least."""
        self._free: list[int] = []
        self._used = 0
        self._rows: Matrix = np.zeros((FEWEST_ROWS, len(self._series)), np.intp)
        """Of each number, in each of the series."""

    def rows(self, keys: Keys, wanted: Sequence[Series]) -> dict[Series, Rows]:
        """The first row of each key in these series; that of what is over the limit, where there can be no more."""
        of_entities = [self._numbers.get(entity, {}) for entity in keys.entities]
        numbers = np.array([of_entities[entity].get(content, _UNKNOWN) for entity, content in keys.different], np.intp)
        known: Matrix = np.where((numbers >= 0)[:, None], self._rows[numbers], _UNKNOWN)
        found: dict[Series, Rows] = {}
        for series in wanted:
            rows: Rows = np.array(known[:, self._series.index(series)])
            missing = np.flatnonzero(rows < 0)
            if len(missing):
                rows[missing] = series.of(keys, missing.tolist())
                self._learn(series, keys, numbers, missing, rows)
            found[series] = rows
        return found

    def forget(self, entities: Iterable[Entity]) -> None:
        """Have no keys of some entities, whose rows are given to others, and may be to those over the limit."""
        for entity in entities:
            self._free += self._numbers.pop(entity, {}).values()
        for number, series in enumerate(self._series):
            rows: Rows = self._rows[:, number]
            rows[np.isin(rows, [*series.overflows])] = _UNKNOWN

    def _learn(self, series: Series, keys: Keys, numbers: Rows, missing: Rows, rows: Rows) -> None:
        """Remember where they are."""
        for at in missing[numbers[missing] < 0].tolist():
            if int(rows[at]) not in series.overflows:
                numbers[at] = self._new(keys, at)
        kept = missing[numbers[missing] >= 0]
        self._rows[numbers[kept], self._series.index(series)] = rows[kept]

    def _new(self, keys: Keys, at: int) -> int:
        """A number for a key, if there may be more."""
        if self._used - len(self._free) >= _MOST_KEYS:
            return _UNKNOWN
        if self._free:
            number = self._free.pop()
        else:
            number, self._used = self._used, self._used + 1
            if number >= len(self._rows):
                self._rows = grown(self._rows, 2 * len(self._rows))
        self._rows[number] = _UNKNOWN
        entity, content = keys.different[at]
        self._numbers.setdefault(keys.entities[entity], {})[content] = number
        return number
