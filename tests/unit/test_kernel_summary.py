"""The summary of `make test-kernels` names what failed, what was skipped, and what has no result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.summary import OfKernel, lines
from tests.kernels.vm import Run

_TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.parametrize("name", ["a", "b"])
def test_fails(name):
    assert name == "a", "it is b"

def test_is_skipped():
    pytest.skip("there is no such thing here")

@pytest.fixture
def broken():
    raise ValueError("this cannot be set up")

def test_has_an_error(broken):
    pass
"""


@pytest.fixture
def of_kernel(tmp_path: Path) -> OfKernel:
    """Of two steps, one of which was never run."""
    (tmp_path / "test_some.py").write_text(_TESTS)
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=some.xml", "test_some.py"]
    subprocess.run(run, cwd=tmp_path, check=False, capture_output=True)
    (tmp_path / "steps.json").write_text('{"some": 12.3}')
    return OfKernel.read("6.1", Run(tmp_path, 100.0, 80.0), ["some", "other"])


def test_all_is_named(of_kernel: OfKernel) -> None:
    assert not of_kernel.ok
    said = list(lines([of_kernel], ["some", "other"]))
    assert [line.split(maxsplit=1) for line in said[1:5]] == [
        ["some", "2 passed, 2 failed, 1 skipped in 12 s"],
        ["other", "no result"],
        ["in", "all  100 s"],
        ["CPU", "80 s"],
    ]
    assert [line.partition("\n")[0] for line in said[5:]] == [
        "failed on 6.1, some: AssertionError: it is b: test_fails[b]",
        'failed on 6.1, some: failed on setup with "ValueError: this cannot be set up": test_has_an_error',
        "skipped on 6.1, some: there is no such thing here: test_is_skipped",
    ]


def test_a_kernel_is_right_where_every_step_ran_and_nothing_failed(of_kernel: OfKernel) -> None:
    some = of_kernel.outcomes["some"]
    assert some
    some.failed.clear()
    assert not of_kernel.ok
    of_kernel.outcomes["other"] = some
    assert of_kernel.ok
