"""What came of the steps on each kernel: a table, and the names of all tests that failed or were skipped."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.kernels.steps import TIMES
from tests.kernels.vm import Run

_NO_RESULT = "no result"


@dataclass(frozen=True)
class Outcome:
    """Of one step on one kernel: the number of tests that passed, and the others by name, with the reason."""

    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict[str, str])
    skipped: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def read(cls, report: Path) -> Outcome | None:
        """What pytest has reported; None where it has not."""
        try:
            cases = list(ElementTree.parse(report).iter("testcase"))
        except (OSError, ElementTree.ParseError):
            return None
        failed: dict[str, str] = {}
        skipped: dict[str, str] = {}
        for case in cases:
            for kind, of_kind in (("failure", failed), ("error", failed), ("skipped", skipped)):
                if (found := case.find(kind)) is not None:
                    of_kind[case.get("name", "")] = (found.get("message") or "").partition("\n")[0]
        return cls(len(cases) - len({*failed, *skipped}), failed, skipped)

    @property
    def cell(self) -> str:
        """What the table has."""
        others = ((self.failed, "failed"), (self.skipped, "skipped"))
        return ", ".join([f"{self.passed} passed", *(f"{len(names)} {what}" for names, what in others if names)])


@dataclass(frozen=True)
class OfKernel:
    """What came of the steps on one kernel; None of a step that has no report."""

    name: str
    run: Run
    outcomes: dict[str, Outcome | None]
    seconds: dict[str, float]

    @classmethod
    def read(cls, name: str, run: Run, steps: Sequence[str]) -> OfKernel:
        """That of a run that has ended."""
        outcomes = {step: Outcome.read(run.results / f"{step}.xml") for step in steps}
        times = run.results / TIMES
        return cls(name, run, outcomes, json.loads(times.read_text()) if times.exists() else {})

    @property
    def ok(self) -> bool:
        """Whether all steps were run and no test failed."""
        return all(outcome and not outcome.failed for outcome in self.outcomes.values())

    def cell(self, step: str) -> str:
        """What the table has of a step."""
        outcome = self.outcomes[step]
        return f"{outcome.cell} in {self.seconds.get(step, 0):.0f} s" if outcome else _NO_RESULT


def lines(kernels: Sequence[OfKernel], steps: Sequence[str]) -> Iterator[str]:
    """The summary, for whoever reads it."""
    rows = [["", *(each.name for each in kernels)]]
    rows += [[step, *(each.cell(step) for each in kernels)] for step in steps]
    rows.append(["in all", *(f"{each.run.seconds:.0f} s" for each in kernels)])
    rows.append(["CPU", *(f"{each.run.cpu_seconds:.0f} s" for each in kernels)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
    for each in kernels:
        for step, outcome in each.outcomes.items():
            for what, names in (("failed", outcome.failed), ("skipped", outcome.skipped)) if outcome else ():
                yield from _named(f"{what} on {each.name}, {step}", names)


def _named(what: str, reasons: Mapping[str, str]) -> Iterator[str]:
    """A line for each reason, with the names of all that has it."""
    of_reason: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        of_reason[reason].append(name)
    for reason, names in of_reason.items():
        yield f"{what}: {reason}: {', '.join(names)}"
