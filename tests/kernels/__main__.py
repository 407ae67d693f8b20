"""The tests on other kernels: python -m tests.kernels [--arch arm64] [--suite trixie] [--steps check] 6.1 6.12."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.kernels.architecture import ARCHITECTURES, Architecture, of_this_host
from tests.kernels.archive import Archive, NotThere
from tests.kernels.cache import cache
from tests.kernels.job import make_job
from tests.kernels.kernel import Kernel, kernel
from tests.kernels.rootfs import SUITES, RootFs, root_fs
from tests.kernels.steps import NAMES
from tests.kernels.summary import OfKernel, lines
from tests.kernels.vm import run


def main(arguments: Sequence[str]) -> int:
    """Run them one after the other, and print a summary; 1 where something failed, or could not be had."""
    chosen = _parsed(arguments)
    architecture = ARCHITECTURES[chosen.arch]
    steps = [name for name in NAMES if name in chosen.steps]
    try:
        archive = Archive(architecture.debian, refresh=chosen.refresh)
        root = root_fs(chosen.suite, architecture, archive)
    except NotThere as error:
        print(f"test-kernels: {error}", file=sys.stderr)
        return 1
    ran: list[OfKernel] = []
    for wanted in chosen.kernels:
        try:
            found = kernel(wanted, architecture, archive)
        except NotThere as error:
            print(f"test-kernels: {error}", file=sys.stderr)
            continue
        ran.append(_run(found, architecture, root, steps))
    print(*lines(ran, steps), sep="\n")
    return 0 if len(ran) == len(chosen.kernels) and all(each.ok for each in ran) else 1


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kernels")
    parser.add_argument(
        "kernels", nargs="+", help="versions, such as 6.1, of which the newest that Debian has is taken"
    )
    parser.add_argument("--arch", choices=ARCHITECTURES, default=of_this_host())
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0], help="the Debian whose user space it has")
    parser.add_argument("--steps", type=_names_of_steps, default=NAMES, help=f"some of {','.join(NAMES)}")
    parser.add_argument("--refresh", action="store_true", help="fetch Debian's lists of packages anew")
    return parser.parse_args(arguments)


def _names_of_steps(text: str) -> list[str]:
    names = text.split(",")
    if unknown := {*names} - {*NAMES}:
        raise argparse.ArgumentTypeError(f"there is no step {', '.join(sorted(unknown))}")
    return names


def _run(found: Kernel, architecture: Architecture, root: RootFs, steps: Sequence[str]) -> OfKernel:
    name = f"{found.release} {root.suite}"
    logs = cache() / "logs" / f"{architecture.debian}-{found.wanted}-{root.suite}"
    print(f"{name}: its logs go to {logs}", flush=True)
    shutil.rmtree(logs, ignore_errors=True)
    with tempfile.TemporaryDirectory() as directory:
        job = Path(directory, "job.tar")
        make_job(job, root.python, steps)
        done = run(architecture, found, root, job, logs, _saying(name))
    return OfKernel.read(name, done, steps)


def _saying(name: str) -> Callable[[str], None]:
    return lambda text: print(f"{name}: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
