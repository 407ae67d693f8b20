"""Run the steps in a virtual machine, and leave what came of them on the disk of the results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

from tests.kernels.initramfs import RESULTS
from tests.kernels.steps import CHOSEN, STEPS, TIMES, Step
from tests.kernels.vm import SAYS

_RESULTS = Path("/results")
_HUNG_AFTER = 7200.0
"""Seconds after which a step hangs, however slow the machine is; the next ones are run all the same."""


def main() -> None:
    """Do all of the above."""
    chosen = Path(CHOSEN).read_text().split()
    _RESULTS.mkdir()
    os.environ["OTEL_TCPLIFE_TEST_RESULTS"] = str(_RESULTS)
    os.environ["OTEL_TCPLIFE_TEST_CORE"] = "1"  # of the matrix, which takes half an hour in whole
    times: dict[str, float] = {}
    for step in STEPS:
        if step.name in chosen:
            times[step.name] = _run(step)
    (_RESULTS / TIMES).write_text(json.dumps(times))
    with tarfile.open(f"/dev/{RESULTS}", "w:", format=tarfile.GNU_FORMAT) as disk:
        disk.add(_RESULTS, arcname="results")
    os.sync()


def _run(step: Step) -> float:
    """Run it; return how many seconds that took. What it says is in its log and on the console, as it comes."""
    report = f"--junitxml={_RESULTS / step.name}.xml"
    began, line = time.monotonic(), ""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", report, *step.tests],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    end = threading.Timer(_HUNG_AFTER, os.killpg, (process.pid, signal.SIGKILL))
    end.start()
    with (_RESULTS / f"{step.name}.log").open("w") as log:
        for line in process.stdout:
            log.write(line)
            print(line, end="", flush=True)
    process.wait()
    end.cancel()
    line = line.strip("= \n")
    print(f"{SAYS}{step.name}: {line}", flush=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
