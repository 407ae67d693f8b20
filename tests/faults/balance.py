"""The balance of a run of the command, from what it says when it ends, and whether it adds up."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Balance:
    """What became of the sessions of one run."""

    seen: int
    """Sessions seen to end."""
    source: Counter[str]
    """The same, by what became of them before any sink."""
    sinks: dict[str, Counter[str]]
    """Records of each sink, by what became of them."""
    found: int
    """Records that an earlier run had left in the spool."""
    waiting: int
    """Records that are left in the spool."""

    @property
    def exported(self) -> int:
        """Records that the receiver took, at once or from the spool."""
        return sum(outcomes["exported"] for outcomes in self.sinks.values())

    def check(self) -> None:
        """Raise AssertionError where it does not add up."""
        assert self.seen == sum(self.source.values())
        for name, outcomes in self.sinks.items():
            if not name.endswith("_spool"):
                assert sum(outcomes.values()) == self.source["submitted"], name
        spooled = sum(outcomes["spooled"] for outcomes in self.sinks.values())
        left = sum(sum(outcomes.values()) for name, outcomes in self.sinks.items() if name.endswith("_spool"))
        assert spooled + self.found == left + self.waiting


def read_balance(said: Iterable[str]) -> Balance:
    """What the command has said when it ended. Raise ValueError where it has not said it."""
    seen, source, sinks, found, waiting = -1, Counter[str](), dict[str, Counter[str]](), 0, 0
    for line in (line.removeprefix("otel-tcplife: ") for line in said):
        if match := re.fullmatch(r"(\d+) sessions ended(?:: (.*))?", line):
            seen, source = int(match[1]), _counts(match[2] or "")
        elif match := re.match(r"(\d+) records of an earlier run wait in ", line):
            found = int(match[1])
        elif match := re.match(r"(\d+) records wait in .* for the next start", line):
            waiting = int(match[1])
        elif seen >= 0 and (match := re.fullmatch(r"(\w+): (\d+ \w+(?:, \d+ \w+)*)", line)):
            sinks[match[1]] = _counts(match[2])
    if seen < 0:
        raise ValueError("no balance")
    return Balance(seen, source, sinks, found, waiting)


def _counts(told: str) -> Counter[str]:
    return Counter({outcome: int(count) for count, outcome in re.findall(r"(\d+) (?!state|interim)(\w+)", told)})


def check_balance(runs: Sequence[Balance], acknowledged: Sequence[int]) -> None:
    """Raise AssertionError where runs that ended in order do not add up, or a receiver has other records than that.

    `acknowledged` are the numbers of the records that it has acknowledged.
    """
    for run in runs:
        run.check()
    for earlier, later in itertools.pairwise(runs):
        assert later.found == earlier.waiting
    assert sum(run.exported for run in runs) == len(acknowledged)
    twice = {number for number, times in Counter(acknowledged).items() if times > 1}
    assert not twice
