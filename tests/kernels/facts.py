"""What differs between kernels: README has it as a table, and tests/kernels/inside/ checks it on each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Version = tuple[int, ...]

TESTED: tuple[Version, ...] = ((5, 10), (6, 1), (6, 12), (6, 16), (7, 3))
"""The kernels that `make test-kernels` was run on."""


@dataclass(frozen=True)
class Fact:
    """One thing that is so since a version of Linux, and is otherwise before it."""

    what: str
    since: Version
    before: str
    after: str
    backported: tuple[Version, ...] = ()
    """Older versions of which the late releases are like newer ones."""

    def holds(self, kernel: Version) -> bool:
        """Whether that kernel is new enough; of a version that it was backported to, this is said of early releases."""
        return kernel >= self.since

    def said(self, kernel: Version) -> str:
        """What README says of it there."""
        if kernel in self.backported:
            return f"{self.after} in late releases"
        return self.after if self.holds(kernel) else self.before


CONTAINER_BESIDE_V1 = Fact(
    "`container.id`, `k8s.pod.uid` and `process.linux.cgroup` where a cgroup v1 has `net_cls.classid` set",
    (5, 15),
    "absent",
    "there",
    backported=((5, 10),),  # Debian has 5.10.223, where it is absent, for arm64, and a later one for x86_64
)
EXECUTABLE_OF_ALL = Fact(
    "`process.executable.name` of a process that exits with the socket open",
    (6, 16),
    "of the 16,384 processes that were started last",
    "of all",
)
MEMORY_IS_OF_CGROUP = Fact(
    "the limit of locked memory (`ulimit -l`), without CAP_SYS_RESOURCE",
    (5, 11),
    "has to hold the maps",
    "does not matter",
)
MAPS_NEED_NO_CAPABILITY = Fact("capabilities kept with `--user`", (5, 19), "CAP_BPF", "none")
TIMEOUTS = Fact("`tcplife.retransmission_timeouts`", (6, 7), "absent", "there")

FACTS = (CONTAINER_BESIDE_V1, EXECUTABLE_OF_ALL, TIMEOUTS, MEMORY_IS_OF_CGROUP, MAPS_NEED_NO_CAPABILITY)


def rows() -> Iterable[tuple[str, ...]]:
    """The table, of which the first row is the header."""
    yield "", "changed in", *map(_name, TESTED)
    for fact in FACTS:
        since = " and late ".join(map(_name, (fact.since, *fact.backported)))
        yield fact.what, f"{since}; before: {fact.before}", *(fact.said(kernel) for kernel in TESTED)


def _name(kernel: Version) -> str:
    return f"Linux {'.'.join(map(str, kernel))}"
