"""README lists what error.type can say: names of errnos, each once, and that of none of them."""

from __future__ import annotations

import errno

from otel_tcplife.error_types import ERROR_TYPES
from otel_tcplife.session_columns import OTHER_ERROR
from tests.live.matrix.connect_causes import ABSENT, OTHERS, REFUSED, UNANSWERED


def test_they_are_names_of_errnos() -> None:
    assert ERROR_TYPES.keys() - errno.errorcode.values() == {OTHER_ERROR}


def test_all_that_connects_fail_of_in_the_tests_are_listed() -> None:
    """Of all that is played there, tests/live/matrix/test_matrix.py says the same."""
    played = {cause.error for cause in (REFUSED, UNANSWERED, ABSENT, *OTHERS)}
    assert len(played) > 5
    assert played <= ERROR_TYPES.keys()
