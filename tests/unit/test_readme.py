"""The tables of README.md say what the code does."""

from __future__ import annotations

from tests.readme import README, updated


def test_the_tables_are_those_of_the_contract() -> None:
    assert README.read_text() == updated(README.read_text()), "run `python -m tests.readme`"
