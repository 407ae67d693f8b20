"""What is run on each kernel, in this order."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """Tests that are one row of the summary."""

    name: str
    tests: tuple[str, ...]
    """Files or directories, as pytest is given them."""


STEPS = (
    Step("check", ("tests/kernels/inside/test_check.py",)),
    Step("verifier", ("tests/live/test_verifier.py",)),
    Step("facts", ("tests/kernels/inside/test_facts.py",)),
    Step("sessions", ("tests/live/test_sessions.py",)),
    Step("adopted", ("tests/live/test_adopted.py",)),
    Step("place", ("tests/live/test_place.py",)),
    Step("balance", ("tests/live/test_balance.py",)),
    Step("active", ("tests/live/test_active.py",)),
    Step("plugin", ("tests/plugin/test_scope.py",)),
    Step("matrix", ("tests/live/matrix",)),
    Step("capabilities", ("tests/live/test_capabilities.py",)),
    Step("cgroup-v1", ("tests/kernels/inside/test_cgroup_v1.py",)),
    # The last one, as lockdown is not taken back
    Step("lockdown", ("tests/kernels/inside/test_lockdown.py",)),
)
NAMES = tuple(step.name for step in STEPS)

CHOSEN = "chosen-steps"
"""A file of the project's directory in a virtual machine: the names of the steps that are to be run."""
TIMES = "steps.json"
"""A file of the results: the seconds that each step took, in the order in which they were run."""
EXTENSIONS = {"report": ".xml", "log": ".log"}
"""Of the files of the results that each step has."""
