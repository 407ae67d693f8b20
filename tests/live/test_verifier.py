"""How much the verifier has to do for the programs, and the stack they take: no change may let that jump unseen."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.verifier import Figures, figures_here, kept_figures, where

_JUMP = 1.2
"""More than so many times what was kept, or less than one of so many, is refused."""
_RESULTS = "OTEL_TCPLIFE_TEST_RESULTS"
"""A directory for the figures, where somebody wants to keep them."""


def test_no_program_grows_or_shrinks_by_a_fifth_unseen(capsys: pytest.CaptureFixture[str]) -> None:
    """Where none are kept of this kernel and compiler, none may be a fifth above the most that are kept of others."""
    found, kept, place = figures_here(), kept_figures(), where()
    with capsys.disabled():
        print(f"\n{place}: instructions, those that were verified, bytes of stack")
        for choice, programs in found.items():
            for program, figures in programs.items():
                print(f"  {choice}, {program}: {' '.join(map(str, figures))}")
    if results := os.environ.get(_RESULTS):
        Path(results, "verifier.json").write_text(json.dumps({place: found}))
    wrong: list[str] = []
    for choice, programs in found.items():
        for program, figures in programs.items():
            of_others = [each[choice][program] for each in kept.values() if program in each.get(choice, {})]
            least, most = _bounds(kept[place][choice].get(program), []) if place in kept else _bounds(None, of_others)
            wrong += [
                f"{choice}, {program}: {name} {value}, not from {low:.0f} to {high:.0f}"
                for name, value, low, high in zip(Figures._fields, figures, least, most)
                if not low <= value <= high
            ]
    assert not wrong, "\n".join([*wrong, "if that is meant, keep it: python -m tests.support.verifier"])


def _bounds(kept: Figures | None, of_others: list[Figures]) -> tuple[list[float], list[float]]:
    """The least and the most that figures may be."""
    if kept:
        return [value / _JUMP for value in kept], [value * _JUMP for value in kept]
    return [0.0] * 3, [max(values) * _JUMP for values in zip(*of_others)] if of_others else [0.0] * 3
