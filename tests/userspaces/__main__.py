"""README's two commands in bare trees of distributions: python -m tests.userspaces [--steps run,test] trixie noble."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.kernels.archive import NotThere
from tests.kernels.cache import cache
from tests.userspaces.tree import DISTRIBUTIONS, bare_tree, copy_of, run_in

_PROJECT = Path(__file__).parents[2]

STEPS = {"run": ["make", "run", "ARGS=--check"], "test": ["make", "test"]}
"""What is run in each tree: the first one loads the BPF program, attaches it, and ends."""


def main(arguments: Sequence[str]) -> int:
    """Run them one after the other, and print what came of each; 1 where one failed, or a tree could not be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.userspaces")
    parser.add_argument("suites", nargs="+", choices=DISTRIBUTIONS, metavar="suite", help=", ".join(DISTRIBUTIONS))
    parser.add_argument("--steps", default=",".join(STEPS), help=f"some of {','.join(STEPS)}")
    chosen = parser.parse_args(arguments)
    steps = chosen.steps.split(",")
    if unknown := {*steps} - {*STEPS}:
        parser.error(f"there is no step {', '.join(sorted(unknown))}")
    codes = [code for suite in chosen.suites for code in _codes(suite, steps)]
    return 1 if any(codes) else 0


def _codes(suite: str, steps: Sequence[str]) -> Iterator[int]:
    """The exit code of each step, up to the first that fails."""
    name = DISTRIBUTIONS[suite].title
    with tempfile.TemporaryDirectory(dir=cache()) as directory:
        try:
            tree = copy_of(bare_tree(suite), Path(directory), _PROJECT)
        except NotThere as error:
            print(f"{name}: {error}", file=sys.stderr)
            yield 1
            return
        for step in steps:
            log = cache() / "logs" / f"{suite}-{step}.log"
            log.parent.mkdir(exist_ok=True)
            began = time.monotonic()
            with log.open("w") as output:
                code = run_in(tree, STEPS[step], output)
            seconds = time.monotonic() - began
            result = "ok" if code == 0 else f"failed ({code}), see {log}"
            print(f"{name}: {' '.join(STEPS[step])}: {result}, after {seconds:.0f} s", flush=True)
            yield code
            if code:
                return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
