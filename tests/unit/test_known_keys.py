"""The attributes of a key are made once, for as long as something may be counted in a row of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from otel_tcplife.attribute import Attribute
from otel_tcplife.export.metrics import series as series_module
from otel_tcplife.export.metrics.keys import Attributes, Keys
from otel_tcplife.export.metrics.known_keys import KnownKeys
from otel_tcplife.export.metrics.series import Series
from otel_tcplife.host import THE_HOST
from otel_tcplife.instruments import METRIC_ATTRIBUTES, TRAFFIC_ATTRIBUTES
from otel_tcplife.session_columns import SessionColumns
from tests.support.entities import HOST, entity_of, spread
from tests.support.sessions import sessions


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many keys attributes were made, each time that there were some."""
    counts: list[int] = []
    original = Keys.attributes

    def noting(keys: Keys, wanted: Sequence[int], made_of: Sequence[Attribute]) -> Iterator[Attributes]:
        counts.append(len(wanted))
        return original(keys, wanted, made_of)

    monkeypatch.setattr(Keys, "attributes", noting)
    return counts


def _keys(*programs: int, cgroup: int = 0) -> Keys:
    batch = spread(sessions(len(programs)), [cgroup] * len(programs))
    batch["executable"] = [f"program-{program}".encode() for program in programs]
    return Keys(SessionColumns(batch, HOST))


def _names(known: KnownKeys, series: Series, *programs: int, cgroup: int = 0) -> list[object]:
    """Of the programs of records, by the rows that these have; None for what is over the limit."""
    keys = _keys(*programs, cgroup=cgroup)
    rows: list[int] = known.rows(keys, [series])[series][keys.of_records].tolist()
    return [series.attributes_of(row).get("process.executable.name") for row in rows]


def test_for_all_series_that_want_them(made: list[int]) -> None:
    ended, traffic = Series(METRIC_ATTRIBUTES, [{}]), Series(TRAFFIC_ATTRIBUTES, [{}, {}])
    known = KnownKeys([ended, traffic])
    known.rows(_keys(1, 2), [traffic])
    assert made == [2]
    known.rows(_keys(3, 2), [ended, traffic])
    assert made == [2, 2, 1]
    for series in (ended, traffic):
        assert _names(known, series, 3, 2, 1) == ["program-3", "program-2", "program-1"]
    assert made == [2, 2, 1, 1]


def test_until_their_entity_is_forgotten(made: list[int]) -> None:
    series = Series(METRIC_ATTRIBUTES, [{}])
    known = KnownKeys([series])
    known.rows(_keys(1, 2, cgroup=1), [series])
    known.rows(_keys(1, cgroup=2), [series])
    for entity in (entity_of(1), entity_of(7)):
        known.forget([entity])
        series.forget(entity)
    assert _names(known, series, 5, 1, cgroup=2) == ["program-5", "program-1"]
    assert made == [2, 1, 1]
    assert _names(known, series, 2, cgroup=1) == ["program-2"]
    assert made == [2, 1, 1, 1]


def test_of_what_is_over_the_limit_in_some_series_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows over the limit are remembered until there may be room."""
    monkeypatch.setattr(series_module, "CARDINALITY_LIMIT", 3)
    one, two = Series(METRIC_ATTRIBUTES, [{}]), Series(METRIC_ATTRIBUTES, [{}, {}])
    known = KnownKeys([one, two])
    assert _names(known, one, 1) == ["program-1"]
    assert _names(known, one, 1, 2) == ["program-1", "program-2"]
    assert _names(known, two, 1) == ["program-1"]
    assert _names(known, two, 1, 2) == ["program-1", None]
    asked: list[Sequence[int]] = []

    def noting(_series: Series, _keys: Keys, wanted: Sequence[int]) -> list[int]:
        asked.append(wanted)
        return [0] * len(wanted)

    monkeypatch.setattr(Series, "of", noting)
    assert _names(known, one, 1, 2) == ["program-1", "program-2"]
    assert _names(known, two, 1, 2) == ["program-1", None]
    assert not asked
    known.forget([entity_of(1)])
    known.rows(_keys(2), [one, two])
    assert asked == [[0]]


def test_not_of_what_is_over_the_limit(made: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is over until there is room, without attributes being made each time."""
    monkeypatch.setattr(series_module, "MOST_ROWS", 2)
    series = Series(METRIC_ATTRIBUTES, [{}])
    known = KnownKeys([series])
    known.rows(_keys(1, 2, cgroup=1), [series])
    [row] = known.rows(_keys(3), [series])[series].tolist()
    assert row in series.overflows
    assert made == [2]
    for forgotten in (entity_of(1), THE_HOST):
        known.forget([forgotten])
        series.forget(forgotten)
    assert _names(known, series, 3) == ["program-3"]
