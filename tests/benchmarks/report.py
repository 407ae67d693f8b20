"""How figures are printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def spread(figures: Sequence[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"


def with_goal(figures: Sequence[float], unit: str, goal: float | None) -> str:
    """The same in a unit, and the goal where there is one."""
    return f"{spread(figures)}{unit}" + (f", goal {goal:g}" if goal is not None else "")


def row(name: str, *cells: str) -> None:
    """A line of the report."""
    print(f"  {name:45} {'   '.join(cells)}", flush=True)
