"""Batches of both kinds of rows: with and without the span."""

from __future__ import annotations

import numpy as np

from otel_tcplife.session import SESSION, SESSION_IN_SPAN, as_rows_of, concatenated, empty, rows_at
from tests.support.sessions import sessions


def test_rows_get_columns_of_which_nothing_is_known() -> None:
    narrow = sessions(3)
    wide = as_rows_of(SESSION_IN_SPAN, narrow)
    assert wide.dtype == SESSION_IN_SPAN
    for name in SESSION.names or ():
        assert np.array_equal(wide[name], narrow[name])
    assert not wide["trace_id"].any()
    assert not wide["span_id"].any()
    assert as_rows_of(SESSION, narrow) is narrow
    assert len(as_rows_of(SESSION_IN_SPAN, empty(0))) == 0


def test_spans_stay_with_their_sessions() -> None:
    batch = as_rows_of(SESSION_IN_SPAN, sessions(4))
    batch["span_id"][:, 7] = [1, 2, 3, 4]
    assert rows_at(batch, np.array([3, 1]))["span_id"][:, 7].tolist() == [4, 2]
    both = concatenated([empty(0), batch, rows_at(batch, np.array([0]))])
    assert both.dtype == SESSION_IN_SPAN
    assert both["span_id"][:, 7].tolist() == [1, 2, 3, 4, 1]
    assert both["closed_at"].tolist() == [*batch["closed_at"].tolist(), int(batch["closed_at"][0])]
    assert concatenated([]).dtype == SESSION


def test_empty_batches_of_both_kinds_are_an_empty_one() -> None:
    """As where a ring has nothing, and nobody waits for an owner any more."""
    wide = as_rows_of(SESSION_IN_SPAN, empty(0))
    for batches in ([wide, empty(0)], [empty(0), wide], [empty(0), empty(0)]):
        assert len(concatenated(batches)) == 0
